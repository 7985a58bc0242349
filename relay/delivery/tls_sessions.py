"""How TLS with a mail host went, in the words of TLS reports (RFC 8460 §4.3). Pure."""

import ssl
from dataclasses import dataclass
from typing import Literal

from relay.routing.plan import Host
from relay.routing.transport import Demand

TlsResult = Literal[
    "",
    "starttls-not-supported",
    "certificate-host-mismatch",
    "certificate-expired",
    "certificate-not-trusted",
    "validation-failure",
    "dnssec-invalid",
]
"""Empty: all went well."""

_BY_VERIFY_CODE: dict[int, TlsResult] = {
    62: "certificate-host-mismatch",
    64: "certificate-host-mismatch",
    10: "certificate-expired",
    18: "certificate-not-trusted",  # self-signed
    19: "certificate-not-trusted",  # a root that is not ours
    20: "certificate-not-trusted",
    21: "certificate-not-trusted",
}
"""X509_V_ERR_… of OpenSSL."""


@dataclass(frozen=True, slots=True)
class TlsSession:
    """One session with `host` under `demand`: its result, and why in a few words."""

    host: Host
    demand: Demand
    result: TlsResult = ""
    detail: str = ""


def result_of(error: ssl.SSLError | None) -> TlsResult:
    """What a handshake that failed is counted as; None: it broke for another reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, "validation-failure")
    return "validation-failure"

"""The TLS contexts of outgoing connections: made once, because making one takes 20 ms.

Whether TLS is used, and what happens when it fails, is decided in `connections`.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from relay.routing.transport import DestinationTls


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """`any_certificate` encrypts and trusts anybody; `verified` wants a valid certificate and name.

    A receiving server of the Internet cannot be expected to have a certificate that a stranger
    can check (RFC 3207 §4.1), so verification is for routes that ask for it.
    """

    any_certificate: ssl.SSLContext
    verified: ssl.SSLContext

    @classmethod
    def make(cls, authorities: Path | None = None) -> Self:
        """Both contexts, TLS 1.2 or newer. `authorities`: a PEM file, instead of the system's."""
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname = False
        anybody.verify_mode = ssl.CERT_NONE
        verified = ssl.create_default_context(cafile=str(authorities) if authorities else None)
        for context in (anybody, verified):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        return cls(anybody, verified)

    def for_policy(self, policy: DestinationTls) -> ssl.SSLContext:
        return self.verified if policy in ("verify", "implicit_verify") else self.any_certificate

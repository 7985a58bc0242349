"""TLSA records of mail hosts (RFC 6698, RFC 7672), as values. Pure.

Only DANE-TA (usage 2) and DANE-EE (3) count for SMTP; 0 and 1 are unusable, as are selectors and
matching types that nobody knows, and digests of a wrong length (RFC 7672 §3.1.3).
"""

from dataclasses import dataclass
from typing import Literal

TRUST_ANCHOR, END_ENTITY = 2, 3
WHOLE, PUBLIC_KEY = 0, 1
_DIGEST_LENGTHS = {1: 32, 2: 64}
_LARGEST = 16 * 1024

TlsaStatus = Literal["none", "found", "failed"]
"""`none`: no secure TLSA records, so DANE does not apply. `failed`: DNS did not say, or not
credibly, which must never be taken for none (RFC 7672 §2.1.1)."""


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One record: certificate usage, selector, matching type, certificate association data."""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def is_usable(self) -> bool:
        """Whether a certificate can be checked against it."""
        if self.usage not in (TRUST_ANCHOR, END_ENTITY) or self.selector not in (WHOLE, PUBLIC_KEY):
            return False
        if self.matching == 0:
            return 0 < len(self.data) <= _LARGEST
        return len(self.data) == _DIGEST_LENGTHS.get(self.matching, -1)

    def __str__(self) -> str:
        """As a zone file has it, which is also how TLS reports quote it (RFC 8460 §4.4)."""
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


@dataclass(frozen=True, slots=True)
class HostTlsa:
    """What DNS says, securely, about the certificates of one mail host.

    `base` is the TLSA base domain (RFC 7672 §2.2.3): the name in the question, in SNI, and the
    first that a DANE-TA certificate is checked against. `detail` says why the look-up failed.
    """

    status: TlsaStatus = "none"
    records: tuple[Tlsa, ...] = ()
    base: str = ""
    detail: str = ""

    @property
    def usable(self) -> tuple[Tlsa, ...]:
        return tuple(record for record in self.records if record.is_usable)


NO_TLSA = HostTlsa()

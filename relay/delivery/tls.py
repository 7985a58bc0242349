"""The TLS contexts of outgoing connections: made once, because making one takes 20 ms.

Whether TLS is used, and what happens when it fails, is decided in `connections`.
"""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from relay.routing.transport import Trust


class AuthorityError(Exception):
    """A file of certificate authorities cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """`any_certificate` encrypts and trusts anybody; `verified` wants a valid certificate and name.

    A receiving server of the Internet cannot be expected to have a certificate that a stranger
    can check (RFC 3207 §4.1), so verification is for routes and policies that ask for it.
    `own` are verifying contexts by the file of the authorities that they believe instead.
    """

    any_certificate: ssl.SSLContext
    verified: ssl.SSLContext
    own: Mapping[Path, ssl.SSLContext] = field(default_factory=dict)

    @classmethod
    def make(cls, authorities: Path | None = None, own: Iterable[Path] = ()) -> Self:
        """All contexts, TLS 1.2 or newer. `authorities`: a PEM file, instead of the system's.

        Raises `AuthorityError`.
        """
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname = False
        anybody.verify_mode = ssl.CERT_NONE
        anybody.minimum_version = ssl.TLSVersion.TLSv1_2
        return cls(anybody, _verifying(authorities), {file: _verifying(file) for file in own})

    def context(self, trust: Trust, authorities: Path | None = None) -> ssl.SSLContext:
        """The context for connections that trust so; `authorities` as the route names them.

        Under DANE the handshake trusts anybody, and the certificate is looked at after it.
        """
        if trust != "authority":
            return self.any_certificate
        return self.own[authorities] if authorities else self.verified


def _verifying(authorities: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(authorities) if authorities else None)
    except OSError as error:
        holds_none = isinstance(error, ssl.SSLError)
        reason = "it holds no certificates in PEM form" if holds_none else error.strerror
        raise AuthorityError(f"cannot read authorities from {authorities}: {reason}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 8461 §4.1: names are in subjectAltName
    return context

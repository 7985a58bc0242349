"""The TLS that listeners speak: one context per configuration, made once, shared by sessions."""

import ssl

from relay.config.model import Tls

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# Forward secrecy and authenticated encryption only (RFC 9325 §4.2); TLS 1.3 has nothing else.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsError(Exception):
    """Certificate or key cannot be used; the text says which file and why."""


def server_context(tls: Tls) -> ssl.SSLContext:
    """A context with certificate and key read from their files now. Raises `TlsError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.minimum_version]
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    # A ticket costs a handshake 5 %; few clients resume, and those that do use the last one. Other
    # workers do not know it: a client that meets one shakes hands in full.
    context.num_tickets = 1
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as problem:
        raise TlsError(
            f"cannot use the certificate {tls.certificate} with the key {tls.key}: "
            f"{_words(problem)}"
        ) from problem
    return context


def _words(problem: OSError) -> str:
    """What is wrong, without the library's own names for it. `ssl.SSLError` is an `OSError`."""
    if not isinstance(problem, ssl.SSLError):
        return problem.strerror or str(problem)
    if problem.reason == "KEY_VALUES_MISMATCH":
        return "they do not belong together"
    return "one of them is not in PEM form, or the key has a passphrase"

"""Quoted-printable (RFC 2045 §6.7) for text whose line ends are CRLF."""

from binascii import b2a_qp


def quoted_printable(text: bytes) -> bytes:
    """`text` as 7-bit lines of at most 76 octets, decoding to exactly `text`.

    Bare CR and LF, which are no line ends, are written as octets.
    """
    lines = text.split(b"\r\n")
    return b"\r\n".join(b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n") for line in lines)

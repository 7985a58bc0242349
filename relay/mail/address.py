"""Addresses as SMTP writes them: the grammar of RFC 5321 §4.1.2 with RFC 6531 for UTF-8.

Owns the meaning of a path and of a mailbox, and the form in which the rest of the relay knows an
address: the local part exactly as given, the domain in lower case and as A-labels. It never
guesses: what the grammar does not allow raises `AddressError`, whose text is a sentence for the
peer and never repeats what the peer sent.
"""

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import idna

LOCAL_PART_OCTETS = 64
DOMAIN_OCTETS = 255
PATH_OCTETS = 256  # the angle brackets included (RFC 5321 §4.5.3.1.3)

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

# Nearly every address there is. The look-ahead keeps the local part within its 64 octets.
ORDINARY = rf"(?=[^@]{{1,{LOCAL_PART_OCTETS}}}@)({_ATOM}(?:\.{_ATOM})*+@)({_LABEL}(?:\.{_LABEL})*)"
_ORDINARY_PATH = re.compile(rf"<{ORDINARY}>").fullmatch
_ORDINARY_MAILBOX = re.compile(ORDINARY).fullmatch

_SOURCE_ROUTE = re.compile(rf"(@{_LABEL}(?:\.{_LABEL})*(?:,@{_LABEL}(?:\.{_LABEL})*)*):")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*").fullmatch
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*").fullmatch
_DOT_ATOM_UTF8 = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]++"
    r"(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]++)*"
).fullmatch
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*"').fullmatch
_LOCAL_PART_END = re.compile(r'("(?:[^"\\]|\\.)*+"|[^"@][^@]*+)@', re.DOTALL).match


class AddressError(ValueError):
    """An address that cannot be used. Its text is a sentence that can be sent to the peer."""


def parse_path(text: str, *, smtputf8: bool = False) -> str:
    """The address in a path of MAIL or RCPT: `<a@B.c>` gives `a@b.c`, `<>` gives `""`.

    A source route (`<@relay.example:a@b.c>`) is accepted and dropped, as RFC 5321 appendix C
    wants it. Without `smtputf8` every octet outside ASCII is refused. Raises `AddressError`.
    """
    ordinary = _ORDINARY_PATH(text)
    if ordinary is not None and len(text) <= PATH_OCTETS:
        local, domain = ordinary.groups()
        return local + domain.lower()
    if text == "<>":
        return ""
    if not (text.startswith("<") and text.endswith(">")):
        raise AddressError("The address must stand in angle brackets, as <name@example.com>.")
    _check_length(text, PATH_OCTETS)
    inside = text[1:-1]
    if inside.startswith("@"):
        route = _SOURCE_ROUTE.match(inside)
        if route is None:
            raise AddressError("The source route before the address is malformed.")
        inside = inside[route.end() :]
    return _parse(inside, smtputf8=smtputf8)


def parse_mailbox(text: str, *, smtputf8: bool = True) -> str:
    """A bare address, `a@B.c`, in the relay's form. Raises `AddressError`."""
    ordinary = _ORDINARY_MAILBOX(text)
    if ordinary is not None and len(text) <= PATH_OCTETS - 2:
        local, domain = ordinary.groups()
        return local + domain.lower()
    _check_length(text, PATH_OCTETS - 2)
    return _parse(text, smtputf8=smtputf8)


def parse_domain(text: str) -> str:
    """A domain name in lower case and as A-labels. Raises `AddressError`."""
    domain = text
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise AddressError("The domain is not a valid internationalised name.") from error
    if len(domain) > DOMAIN_OCTETS:
        raise AddressError(f"The domain is longer than {DOMAIN_OCTETS} octets.")
    if _DOMAIN(domain) is None:
        raise AddressError(
            "The domain is malformed: labels of letters, digits and inner hyphens, "
            "1 to 63 octets each, joined by single dots."
        )
    return domain.lower()


def suppression_key(address: str) -> str:
    """The form in which addresses are compared for suppression: all lower case, in NFC."""
    if address.isascii():
        return address.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", address).lower())


def _check_length(text: str, limit: int) -> None:
    # Surrogates stand for octets that are not UTF-8; they are refused by name further on.
    if len(text.encode("utf-8", "surrogatepass")) > limit:
        raise AddressError(f"The address is longer than {PATH_OCTETS} octets with its brackets.")


def _parse(mailbox: str, *, smtputf8: bool) -> str:
    if not mailbox.isascii() and not smtputf8:
        raise AddressError("The address has octets outside ASCII; that needs SMTPUTF8.")
    if not mailbox.isprintable():
        raise AddressError("The address has control characters, odd spaces or invalid UTF-8.")
    end = _LOCAL_PART_END(mailbox)
    if end is None:
        raise AddressError("The address must have the form name@domain.")
    local, domain = end[1], mailbox[end.end() :]
    _check_local_part(local)
    if domain.startswith("["):
        return f"{local}@{_parse_literal(domain)}"
    return f"{local}@{parse_domain(domain)}"


def _check_local_part(local: str) -> None:
    if len(local.encode()) > LOCAL_PART_OCTETS:
        raise AddressError(f"The part before the @ is longer than {LOCAL_PART_OCTETS} octets.")
    if local.startswith('"'):
        if _QUOTED(local) is None:
            raise AddressError("The quoted part before the @ is malformed.")
    elif (_DOT_ATOM if local.isascii() else _DOT_ATOM_UTF8)(local) is None:
        raise AddressError(
            "The part before the @ is malformed: spaces and special characters must be quoted, "
            "and dots stand singly between words."
        )


def _parse_literal(domain: str) -> str:
    """An address literal (RFC 5321 §4.1.3), its hexadecimal digits in lower case."""
    inside = domain[1:-1]
    try:
        if not domain.endswith("]"):
            raise AddressValueError
        if inside[:5].lower() == "ipv6:":
            literal = inside[5:].lower()
            if "%" in literal:  # a zone means nothing to another host
                raise AddressValueError
            IPv6Address(literal)
            return f"[IPv6:{literal}]"
        IPv4Address(inside)
    except AddressValueError as error:
        raise AddressError(
            "The address literal is malformed: write [192.0.2.1] or [IPv6:2001:db8::1]."
        ) from error
    return domain

"""The parameters of MAIL and RCPT: text in, values or an `Answer` out. Pure.

RFC 5321 §4.1.1.2 and .3 (syntax), 1870 (SIZE), 6152 (BODY), 6531 (SMTPUTF8), 4954 §5 (AUTH=) and
3461 §4 (RET, ENVID, NOTIFY, ORCPT). Keywords are in any case, values keep theirs; a parameter that
is unknown, repeated or malformed refuses the command. AUTH= is checked and not believed.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from relay.frontend import replies
from relay.frontend.replies import Answer, echo, error, refuse
from relay.mail.address import ORDINARY, PATH_OCTETS, AddressError, parse_path
from relay.mail.envelope import BodyType, Recipient, Return

# A path ends at the first ">" that is not inside a quoted local part.
_COMMAND = re.compile(
    r'(?P<word>[A-Za-z]+):[ ]?(?P<path><(?:[^<>"]|"(?:[^"\\]|\\.)*")*>)(?P<rest>(?:[ ].*)?)'
).fullmatch
# Nearly every RCPT there is.
_ORDINARY_RCPT = re.compile(rf"[Tt][Oo]:[ ]?<{ORDINARY}>").fullmatch
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\U0010ffff]+))?").fullmatch
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+").fullmatch
_HEX = re.compile(r"\+([0-9A-F]{2})")
_SIZE = re.compile(r"[0-9]{1,20}").fullmatch
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}").fullmatch
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_ENVID_LENGTH = 100
_ORCPT_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Mail:
    """What MAIL FROM says. `size` is the declared size in octets, 0 where none was declared."""

    reverse_path: str
    size: int = 0
    body: BodyType = "7BIT"
    smtputf8: bool = False
    ret: Return = ""
    envid: str = ""


class _Refused(ValueError):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


# Senders are few and come again. Bounded, as what a line may hold is.
@lru_cache(maxsize=256)
def parse_mail(argument: str, *, size_limit: int, extended: bool = True) -> Mail | Answer:
    """The argument of MAIL. `extended` is false after HELO, where no parameters are allowed."""
    match = _COMMAND(argument)
    if match is None or match["word"].upper() != "FROM":
        return replies.MAIL_SYNTAX
    try:
        given = _parameters(match["rest"], extended=extended)
        return _mail(match["path"], given, size_limit) if given else _plain_mail(match["path"])
    except _Refused as refused:
        return refused.answer
    except AddressError as problem:
        text = f"{echo(match['path'])} Invalid email address. {problem}"
        return refuse(553, "5.1.7", text, "sender address")


def parse_rcpt(
    argument: str, *, smtputf8: bool = False, extended: bool = True
) -> Recipient | Answer:
    """The argument of RCPT."""
    ordinary = _ORDINARY_RCPT(argument)
    if ordinary is not None and len(argument) <= PATH_OCTETS + len("TO:"):
        local, domain = ordinary.groups()
        return Recipient(local + domain.lower())
    match = _COMMAND(argument)
    if match is None or match["word"].upper() != "TO":
        return replies.RCPT_SYNTAX
    try:
        given = _parameters(match["rest"], extended=extended)
        address = parse_path(match["path"], smtputf8=smtputf8)
        if not address:
            raise AddressError("A recipient cannot be the null path.")
        if not given:
            return Recipient(address)
        return _recipient(address, given, smtputf8)
    except _Refused as refused:
        return refused.answer
    except AddressError as problem:
        text = f"{echo(match['path'])} address unknown. {problem}"
        return refuse(553, "5.1.3", text, "recipient address")


def _plain_mail(path: str) -> Mail:
    return Mail(parse_path(path))


def _mail(path: str, given: dict[str, str | None], size_limit: int) -> Mail:
    size = _size(given, size_limit)
    body = _choice(given, "BODY", ("7BIT", "8BITMIME"), "7BIT")
    smtputf8 = _flag(given, "SMTPUTF8")
    ret = _choice(given, "RET", ("FULL", "HDRS"), "")
    envid = _xtext(given, "ENVID", _ENVID_LENGTH)
    _check_auth(given)
    _check_all_known(given)
    return Mail(
        parse_path(path, smtputf8=smtputf8),
        size,
        cast("BodyType", body),
        smtputf8,
        cast("Return", ret),
        envid,
    )


def _recipient(address: str, given: dict[str, str | None], smtputf8: bool) -> Recipient:
    notify = _notify(given)
    orcpt = _orcpt(given, smtputf8)
    _check_all_known(given)
    return Recipient(address, notify, orcpt)


def _parameters(rest: str, *, extended: bool) -> dict[str, str | None]:
    """The parameters by upper-case keyword; those of a known keyword are taken out later."""
    given: dict[str, str | None] = {}
    for parameter in rest.split(" "):
        if not parameter:
            continue
        match = _PARAMETER(parameter)
        if match is None:
            raise _Refused(_malformed("parameters"))
        keyword = match[1].upper()
        if keyword in given:
            raise _Refused(error(501, "5.5.4", f"{echo(keyword)} is given twice", "syntax"))
        given[keyword] = match[2]
    if given and not extended:
        raise _Refused(error(501, "5.5.4", "Parameters need EHLO, not HELO", "syntax"))
    return given


def _malformed(keyword: str) -> Answer:
    return error(501, "5.5.4", f"Malformed {keyword}", "syntax")


def _size(given: dict[str, str | None], limit: int) -> int:
    if "SIZE" not in given:
        return 0
    value = given.pop("SIZE") or ""
    if not _SIZE(value):
        raise _Refused(_malformed("SIZE"))
    size = int(value)
    if size > limit:
        raise _Refused(replies.too_long(limit))
    return size


def _choice(given: dict[str, str | None], keyword: str, allowed: tuple[str, ...], none: str) -> str:
    if keyword not in given:
        return none
    value = (given.pop(keyword) or "").upper()
    if value not in allowed:
        text = f"{keyword} can be {' or '.join(allowed)}"
        raise _Refused(error(501, "5.5.4", text, "syntax"))
    return value


def _flag(given: dict[str, str | None], keyword: str) -> bool:
    if keyword not in given:
        return False
    if given.pop(keyword) is not None:
        raise _Refused(error(501, "5.5.4", f"{keyword} takes no value", "syntax"))
    return True


def _xtext(given: dict[str, str | None], keyword: str, length: int) -> str:
    """An xtext value as it was given (RFC 3461 §4), checked: printable ASCII when decoded."""
    if keyword not in given:
        return ""
    value = given.pop(keyword) or ""
    if len(value) > length or not is_xtext(value):
        raise _Refused(_malformed(f"{keyword}: allowed is xtext of at most {length} characters"))
    return value


def is_xtext(value: str) -> bool:
    """Whether `value` is xtext (RFC 3461 §4) whose decoded characters are printable ASCII."""
    if not _XTEXT(value):
        return False
    return "+" not in value or all(" " <= chr(int(code, 16)) <= "~" for code in _HEX.findall(value))


def _check_auth(given: dict[str, str | None]) -> None:
    """AUTH=<> or an xtext mailbox: the claim of another server about who submitted (ignored)."""
    if "AUTH" in given:
        value = given.pop("AUTH") or ""
        if value != "<>" and not is_xtext(value):
            raise _Refused(_malformed("AUTH"))


def _notify(given: dict[str, str | None]) -> tuple[str, ...]:
    if "NOTIFY" not in given:
        return ()
    words = tuple((given.pop("NOTIFY") or "").upper().split(","))
    if words != ("NEVER",) and not (_NOTIFY.issuperset(words) and len(set(words)) == len(words)):
        text = "NOTIFY can be NEVER, or a list of SUCCESS, FAILURE and DELAY"
        raise _Refused(error(501, "5.5.4", text, "syntax"))
    return words


def _orcpt(given: dict[str, str | None], smtputf8: bool) -> str:
    if "ORCPT" not in given:
        return ""
    value = given.pop("ORCPT") or ""
    kind, _, address = value.partition(";")
    utf8 = smtputf8 and kind.lower() == "utf-8"
    right = _UTF8_ADDRESS(address) if utf8 else is_xtext(address)
    if len(value) > _ORCPT_LENGTH or not _ADDRESS_TYPE(kind) or not right:
        raise _Refused(_malformed("ORCPT: allowed is type;address with the address as xtext"))
    return value


_UTF8_ADDRESS = re.compile(r"[!-<>-~\x80-\U0010ffff]+").fullmatch  # RFC 6533 §3


def _check_all_known(given: dict[str, str | None]) -> None:
    if "REQUIRETLS" in given:  # RFC 8689: a promise for the whole way, or a refusal
        text = "REQUIRETLS is not offered: this relay cannot promise it for the hosts after it"
        raise _Refused(error(555, "5.5.4", text, "unknown parameter"))
    if given:
        text = f"{echo(next(iter(given)))} is not supported"
        raise _Refused(error(555, "5.5.4", text, "unknown parameter"))

"""Every refusal of admission: reply code, enhanced status code, sentence, metric label.

The sentences are those of Amazon SES where it has one, and say more after it where that helps: the
limit, the seconds to wait, what to change. What a client sent is echoed only as short printable
ASCII. docs/replies.md explains each to its reader; a test keeps the two alike.
"""

import re
from collections.abc import Sequence
from math import ceil

from relay.admission.submission import Refusal
from relay.mail.replies import Reply
from relay.store.pauses import Pause

_UNPRINTABLE = re.compile(r"[^ -~]")
_ADDRESSES = 5  # named in one reply; SES cuts its list with "..." too
_ECHO = 80


def _echo(text: str) -> str:
    shown = _UNPRINTABLE.sub("?", text)
    return shown if len(shown) <= _ECHO else shown[: _ECHO - 3] + "..."


def _listed(addresses: Sequence[str]) -> str:
    shown = ", ".join(_echo(address) for address in addresses[:_ADDRESSES])
    return shown + ", ..." if len(addresses) > _ADDRESSES else shown


def message_too_long(limit: int) -> Refusal:
    text = f"Message is too long. The limit is {limit} octets."
    return Refusal(Reply(552, "5.3.4", text), "message size")


def header_too_long(limit: int) -> Refusal:
    text = f"Message header is too long. The limit is {limit} octets."
    return Refusal(Reply(552, "5.3.4", text), "header size")


def duplicate_header(name: str) -> Refusal:
    return Refusal(
        Reply(554, "5.6.0", f"Transaction failed: Duplicate header '{_echo(name)}'."),
        "duplicate header",
    )


def missing_from() -> Refusal:
    return Refusal(Reply(554, "5.6.0", "Transaction failed: Missing header 'From'."), "bad header")


def no_address_in(name: str) -> Refusal:
    text = f"Transaction failed: Header '{name}' has no valid address."
    return Refusal(Reply(554, "5.6.0", text), "bad header")


def address_not_ascii(name: str) -> Refusal:
    text = (
        f"Transaction failed: The address in '{name}' is not ASCII. Send it with SMTPUTF8, or"
        " write the domain in Punycode."
    )
    return Refusal(Reply(554, "5.6.7", text), "bad header")


def mail_loop(hops: int) -> Refusal:
    text = f"Transaction failed: Mail loop: the message has {hops} 'Received' headers."
    return Refusal(Reply(554, "5.4.6", text), "mail loop")


def too_many_recipients(limit: int) -> Refusal:
    text = f"Transaction failed: Recipient count exceeds {limit}."
    return Refusal(Reply(554, "5.5.3", text), "recipients")


def credential_disabled(name: str) -> Refusal:
    text = f"Access denied: Credential {_echo(name)} is disabled."
    return Refusal(Reply(554, "5.7.1", text), "credential disabled")


def identities_unknown(addresses: Sequence[str]) -> Refusal:
    return Refusal(Reply(554, "5.7.1", _not_verified(addresses)), "identity unknown")


def identities_not_allowed(addresses: Sequence[str], credential: str) -> Refusal:
    text = f"{_not_verified(addresses)} (credential {_echo(credential)} may not send as them)"
    return Refusal(Reply(554, "5.7.1", text), "identity not allowed")


def _not_verified(addresses: Sequence[str]) -> str:
    return (
        "Message rejected: Email address is not verified."
        f" The following identities failed the check: {_listed(addresses)}"
    )


def set_unknown(name: str) -> Refusal:
    text = f"Configuration set does not exist: {_echo(name) or '(empty)'}"
    return Refusal(Reply(554, "5.7.1", text), "configuration set unknown")


def set_not_allowed(name: str, credential: str) -> Refusal:
    text = f"Access denied: Credential {_echo(credential)} may not use configuration set {name}"
    return Refusal(Reply(554, "5.7.1", text), "configuration set not allowed")


def set_paused(name: str) -> Refusal:
    return Refusal(
        Reply(554, "5.7.1", f"Sending is paused for configuration set {name}"),
        "configuration set paused",
    )


def stream_paused(pause: Pause) -> Refusal:
    what = "configuration set" if pause.kind == "set" else "credential"
    why = _UNPRINTABLE.sub("?", pause.reason).rstrip(".")
    text = (
        f"Sending is paused for {what} {_echo(pause.name)}: {why}."
        f" An operator resumes it: relay reputation resume {pause.key} --reason WHY"
    )
    return Refusal(Reply(554, "5.7.1", text), "reputation")


def set_missing(identity: str, credential: str) -> Refusal:
    text = (
        "Configuration set missing: name one in the header X-SES-CONFIGURATION-SET."
        f" Neither identity {_echo(identity)} nor credential {_echo(credential)} has a default."
    )
    return Refusal(Reply(554, "5.7.1", text), "configuration set missing")


def rate_exceeded(delay_s: float, limit: str) -> Refusal:
    return Refusal(
        Reply(454, "4.7.1", _throttled("Maximum sending rate exceeded.", delay_s, limit)), "rate"
    )


def quota_exceeded(delay_s: float, limit: str) -> Refusal:
    return Refusal(
        Reply(454, "4.7.1", _throttled("Daily message quota exceeded.", delay_s, limit)), "quota"
    )


def _throttled(what: str, delay_s: float, limit: str) -> str:
    seconds = max(1, ceil(delay_s))
    return f"Throttling failure: {what} Try again in {seconds} seconds. {limit}"


def limits_unavailable() -> Refusal:
    return Refusal(
        Reply(451, "4.3.0", "Temporary service failure; try again later"), "store failed"
    )

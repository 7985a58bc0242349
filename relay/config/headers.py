"""The header fields that a configuration set may have added to its mail: Feedback-ID and
List-Unsubscribe."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from relay.config.section import Section
from relay.mail.address import AddressError, parse_mailbox

TOKEN = "{token}"  # noqa: S105 - the place of one, in a template

_SENDER = re.compile(r"[A-Za-z0-9._-]{5,15}").fullmatch
_URI = re.compile(r"[!#-;=?-_a-z~]+").fullmatch  # no spaces, quotes, brackets or braces


def _url(text: str) -> str:
    rest = text.removeprefix("https://").replace(TOKEN, "", 1)
    if not text.startswith("https://") or TOKEN not in text or _URI(rest) is None:
        raise ValueError(
            "allowed is an https:// URL with {token} in it once, as https://example.com/u/{token}"
        )
    host = re.split("[/?#]", text.removeprefix("https://"), maxsplit=1)[0]
    if not host or TOKEN in host:  # a token is longer than a name in DNS may be
        raise ValueError("allowed is a URL with a host, and {token} behind it")
    return text


def _mailto(text: str) -> str:
    address, mark, rest = text.partition("?")
    try:
        mailbox = parse_mailbox(address, smtputf8=False)
    except AddressError as error:
        raise ValueError(
            "allowed is a mail address, as unsubscribe@example.com or"
            " unsubscribe@example.com?subject={token}"
        ) from error
    without = rest.replace(TOKEN, "x", 1)  # it may stand for all of it
    if _URI(address) is None or (mark and _URI(without) is None):
        raise ValueError("allowed after the ? are the parts of a mailto: URI, as subject={token}")
    return f"{mailbox}{mark}{rest}"


def _sender(text: str) -> str:
    if _SENDER(text) is None:
        raise ValueError("allowed are 5 to 15 letters, digits, dots, - and _")
    return text


FeedbackSender = Annotated[str, AfterValidator(_sender)]
"""Gmail wants from 5 to 15 characters, the same for good."""


class Unsubscribe(Section):
    """List-Unsubscribe fields for mail that has none (RFC 2369), with one click (RFC 8058)."""

    url: Annotated[str, Field(max_length=300), AfterValidator(_url)] | None = Field(
        None, description="https, with {token}; it takes the POST of a mail client"
    )
    mailto: Annotated[str, Field(max_length=300), AfterValidator(_mailto)] | None = Field(
        None, description="an address, which may end in ?subject={token}"
    )
    secret: Annotated[str, Field(min_length=16, max_length=512)] = Field(
        repr=False, description="what tokens are made with; usually ${file:…}"
    )

    @model_validator(mode="after")
    def _says_where(self) -> "Unsubscribe":
        if self.url is None and self.mailto is None:
            raise ValueError("allowed is a url, a mailto or both")
        return self

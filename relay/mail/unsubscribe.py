"""List-Unsubscribe fields, and the tokens in them that say who wants to leave what.

A token is `PAYLOAD.MAC`: the payload is base64url (RFC 4648 section 5, without padding) of the
message id, the name of the configuration set and the recipient's address, a space between them; the
MAC is base64url of the first 16 octets of HMAC-SHA-256 over the payload as it is written. So who
has the secret can tell that the relay has sent that message to that address, and nobody can
unsubscribe another. Pure.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from dataclasses import dataclass

from relay.mail.headers import header_field

_MAC_OCTETS = 16


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a token says: which message, of which configuration set, to whom."""

    message_id: str
    configuration_set: str
    address: str


class NoToken(ValueError):
    """What was given is no token that was made with the secret."""


def make_token(subscription: Subscription, secret: str) -> str:
    """The token for one recipient of a message: letters, digits, `-`, `_` and a dot."""
    said = f"{subscription.message_id} {subscription.configuration_set} {subscription.address}"
    payload = _encode(said.encode())
    return f"{payload}.{_mac(payload, secret)}"


def read_token(token: str, secret: str) -> Subscription:
    """What a token says. Raises `NoToken`."""
    payload, _, mac = token.partition(".")
    expected = _mac(payload, secret)
    if not hmac.compare_digest(mac.encode(errors="replace"), expected.encode()):
        raise NoToken("it was not made with this secret")
    try:
        said = urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
        message_id, configuration_set, address = said.split(" ", 2)
    except (Error, ValueError) as error:
        raise NoToken("it has another form") from error
    return Subscription(message_id, configuration_set, address)


def unsubscribe_fields(url: str | None, mailto: str | None) -> bytes:
    """The fields that offer a way out: an https URL, an address with what may follow it, or both.

    One click is promised (RFC 8058) where there is a URL. Raises `HeaderError` where either is too
    long for a line.
    """
    ways = [f"<{url}>"] if url else []
    if mailto:
        ways.append(f"<mailto:{mailto}>")
    fields = header_field("List-Unsubscribe", ", ".join(ways))
    if url:
        fields += header_field("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
    return fields


def _mac(payload: str, secret: str) -> str:
    digest = hmac.digest(secret.encode(), payload.encode(errors="replace"), "sha256")
    return _encode(digest[:_MAC_OCTETS])


def _encode(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")

"""How entries of the outbox lie in rows, of every store.

An entry of a new message keeps the row's own facts and header block, so that nothing is encoded
twice on the way of a message.
"""

from collections.abc import Sequence

import msgspec

from relay.store.codec import Damaged, decode_message
from relay.store.happenings import (
    Attempted,
    Complained,
    Happening,
    OutboxEntry,
    Paused,
    Rejected,
    Returned,
    Sent,
    Unreadable,
)
from relay.store.log_values import MOST_LOGGED_HEADER
from relay.store.values import Suppressed

_KINDS: dict[str, type[Attempted | Rejected | Returned | Complained | Paused]] = {
    "attempted": Attempted,
    "rejected": Rejected,
    "returned": Returned,
    "complained": Complained,
    "paused": Paused,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_encode = msgspec.json.Encoder().encode
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in _KINDS.items()}
_suppressed = msgspec.json.Decoder(tuple[Suppressed, ...])

Row = tuple[str, int, str, bytes]
"""Message id, time, kind, and what is told, of an entry that is no new message."""
SentRow = tuple[str, int, bytes, bytes, tuple[Suppressed, ...]]
"""Message id, time, facts, header block and suppressed recipients of a new message."""
Fields = tuple[int, str, int, str, bytes, bytes | None, bytes | None]
"""Id, message id, time, kind, what is told, header block and suppressed recipients, as stored."""


def row(message_id: str, at: int, what: Happening) -> Row:
    """The row of an entry. A new message's is written with the message alone."""
    if isinstance(what, Sent | Unreadable):
        raise TypeError("a message is told of by its insert alone")
    return message_id, at, _NAMES[type(what)], _encode(what)


def encode_suppressed(suppressed: tuple[Suppressed, ...]) -> bytes | None:
    return _encode(suppressed) if suppressed else None


def cut(header: bytes) -> bytes:
    """As much of a header block as the log keeps, and an octet more where there is more: whoever
    reads it sees that. It is cut between fields later, where nobody waits."""
    return header if len(header) <= MOST_LOGGED_HEADER else header[: MOST_LOGGED_HEADER + 1]


def entry(fields: Sequence[object]) -> OutboxEntry:
    """An entry from its `Fields`. One that is damaged comes as `Unreadable`."""
    identifier, message_id, at = fields[:3]
    try:
        return _entry(*fields)  # type: ignore[arg-type]
    except (Damaged, msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
        return OutboxEntry(
            int(identifier),  # type: ignore[call-overload]
            str(message_id),
            int(at),  # type: ignore[call-overload]
            Unreadable(str(error)),
        )


def _entry(
    identifier: int,
    message_id: str,
    at: int,
    kind: str,
    told: bytes,
    header: bytes | None,
    suppressed: bytes | None,
) -> OutboxEntry:
    what: Happening
    if kind == "sent":
        message = decode_message(message_id, told, None, header or b"", is_cut=True)
        what = Sent(message, _suppressed.decode(suppressed) if suppressed else ())
    else:
        what = _DECODERS[kind].decode(told)
    return OutboxEntry(identifier, message_id, at, what)


def word_kind(word: str) -> str:
    """What words of `once` have in common that are alike up to their last hyphen."""
    return word[: word.rfind("-") + 1]

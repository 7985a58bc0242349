"""Message ids in the form of SES: `0100` + 12 hex digits of milliseconds `-` UUID `-000000`.

They sort by time of acceptance, name a message in replies, logs and the queue, and are not the
client's `Message-ID` field, which stays as it came.
"""

import os
import re

_FORM = re.compile(
    r"01[0-9a-f]{14}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-[0-9a-f]{6}"
).fullmatch
_MILLISECONDS = (1 << 48) - 1


def new_message_id(now_ms: int) -> str:
    """A new id for a message that was accepted at `now_ms` (UTC milliseconds since the epoch)."""
    h = os.urandom(16).hex()
    variant = "89ab"[int(h[16], 16) & 3]
    uuid = f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{variant}{h[17:20]}-{h[20:]}"  # version 4 of RFC 9562
    return f"0100{now_ms & _MILLISECONDS:012x}-{uuid}-000000"


def is_message_id(text: str) -> bool:
    """Whether `text` has the form of a message id (and so is safe in a file name or a query)."""
    return _FORM(text) is not None


def accepted_at(message_id: str) -> int:
    """When a message was accepted, in UTC ms, as its id tells; 0 where it is no id of ours."""
    return int(message_id[4:16], 16) if is_message_id(message_id) else 0

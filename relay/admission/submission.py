"""What a client hands in, and what it hears when that is not taken.

A `Submission` is complete: envelope, header block and body have been received and are within the
bounds of the session. Admission turns it into a `NewMessage` or into a `Refusal`.
"""

from dataclasses import dataclass, field
from typing import Literal

from relay.mail.envelope import Envelope
from relay.mail.headers import Headers
from relay.mail.replies import Reply
from relay.store.values import Body

Reason = Literal[
    "message size",
    "header size",
    "duplicate header",
    "bad header",
    "mail loop",
    "recipients",
    "credential disabled",
    "identity unknown",
    "identity not allowed",
    "configuration set unknown",
    "configuration set not allowed",
    "configuration set paused",
    "configuration set missing",
    "reputation",
    "rate",
    "quota",
    "store failed",
]
"""Why a message is refused: the label of `relay_messages_refused_total`. See docs/replies.md."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One message as a session received it.

    `id` is the message id that the client will hear, `received_at` UTC milliseconds, `client` an
    IP address as text, `helo` the client's word for itself, `tls` a version such as `TLSv1.3`
    (empty: none), `credential` the name under which the client logged in. `rejected` says why its
    content is not to be sent on, `""` where nothing speaks against it.
    """

    id: str
    received_at: int
    listener: str
    client: str
    helo: str
    tls: str
    credential: str
    envelope: Envelope
    headers: Headers = field(repr=False)
    body: Body = field(repr=False)
    rejected: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reply to the end of data, and the word under which it is counted."""

    reply: Reply
    reason: Reason

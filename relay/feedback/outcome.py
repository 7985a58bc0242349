"""What became of one recipient in one attempt, as a value.

Text from peers is made harmless here, before it reaches a log, the store or a report: one line,
without controls, of bounded length. Owns no decision: `classify` takes it.
"""

from dataclasses import dataclass, replace
from typing import Literal

from relay.config.bounces import Category
from relay.mail.enhanced import printable_text
from relay.mail.envelope import Recipient
from relay.mail.replies import Reply

Kind = Literal["delivered", "deferred", "bounced"]
Phase = Literal[
    "routing",  # DNS and routes, before any connection: the reply is `routing`'s
    "connect",  # no reply at all: the text is ours
    "greeting",
    "ehlo",
    "tls",
    "auth",
    "mail",
    "rcpt",
    "data",  # the reply to DATA, before any content
    "content",  # in the middle of the message
    "final",  # the reply to the final dot, or its absence: the message may have been taken
    "local",  # this relay could not try: the reply is ours
]
Outcome = Literal["delivered", "unclassified", "suppressed", Category]
"""The word for metrics and people. `unclassified`: no rule knew what a peer said; `suppressed`: the
address came to the suppression list while the mail was queued."""

BounceType = Literal["Permanent", "Transient", "Undetermined"]
BounceSubtype = Literal[
    "NoEmail",
    "General",
    "MailboxFull",
    "OnAccountSuppressionList",
    "MessageTooLarge",
    "ContentRejected",
    "AttachmentRejected",
    "Undetermined",
]

REPLY_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Bounce:
    """A bounce as SES names it. It is permanent exactly where the address itself is dead."""

    type: BounceType
    subtype: BounceSubtype

    def __str__(self) -> str:
        return f"{self.type}/{self.subtype}"


GENERAL = Bounce("Transient", "General")


@dataclass(frozen=True, slots=True)
class Classification:
    """What a reply means. `rule` names the rule that said so (`""`: none knew it).

    `hard_bounce`: the address itself is dead, and goes to the suppression list. `attempts`: what is
    deferred bounces after so many attempts in all (0: when the message expires). `bounce` is how
    SES names it where it bounces.
    """

    kind: Kind
    outcome: Outcome
    hard_bounce: bool = False
    bounce: Bounce = GENERAL
    rule: str = ""
    attempts: int = 0


UNANSWERED = Classification("deferred", "local")


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """One recipient after one attempt.

    `remote` names the host that replied (`""`: none did). `dsn_relayed` says that the peer
    announced DSN and was given the recipient's NOTIFY and ORCPT: reporting success is its task now
    (RFC 3461 §5.2.3). `told` is what the reply itself means; `kind` and `outcome` are what becomes
    of the recipient, which the age of the message decides too.
    """

    recipient: Recipient
    kind: Kind
    reply: Reply
    outcome: Outcome
    remote: str = ""
    phase: Phase = "final"
    dsn_relayed: bool = False
    told: Classification = UNANSWERED


def harmless(reply: Reply) -> Reply:
    """The reply with its text on one line, printable, of at most 512 characters."""
    text = printable_text(reply.text, REPLY_CHARACTERS)
    return reply if text == reply.text else replace(reply, text=text)

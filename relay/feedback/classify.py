"""What a reply means for a recipient: delivered, try again or give up, and the word for why.

Pure and total: every phase, code and text has an answer. The code decides whether mail is tried
again (RFC 5321 §4.2.1), with these exceptions, both towards trying again, because what failed is
not this message: anything before MAIL (a refused session may go well elsewhere or later), and 503,
our state and the peer's disagree. A rule may say otherwise.

Rules are data: those of the configuration first, then `relay/shipped/bounces.yaml`; the first that
agrees gives the word. Replies of the relay itself are judged by rules of their own, so that no host
name in them is taken for a word.

A *hard bounce* puts the address on the suppression list, where an error keeps mail from a living
mailbox. So it needs all of: a reply that ends it, to this recipient, a rule that says `hard`, and,
for a shipped rule, nothing of what `doubt` lists.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

from relay.config.bounces import BounceRule, Bounces, Category
from relay.config.shipped import shipped_bounces
from relay.feedback.conditions import Conditions
from relay.feedback.outcome import (
    GENERAL,
    REPLY_CHARACTERS,
    Bounce,
    BounceSubtype,
    Classification,
    Kind,
    Outcome,
    Phase,
)
from relay.mail.replies import Reply

_BEFORE_MAIL = frozenset({"connect", "greeting", "ehlo", "tls", "auth"})
_ADDRESS = re.compile(r"(?<![^\s<>])[^\s<>@]+@[^\s<>]*")
_UNIQUE = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]{5,12}Z"  # a time
    r"|(?<![\w.(\[#-])(?=[\w-]{0,40}\d)(?=[\w-]{0,40}[a-z])[\w-]{12,}(?:\.\d{1,9})?(?![\w.])",
    re.IGNORECASE,
)
"""What many servers put into each reply anew. Without it the same refusal is the same text."""
_REMEMBERED = 1_024

_UNDETERMINED = Bounce("Undetermined", "Undetermined")
_SUBTYPES: dict[Outcome, BounceSubtype] = {
    "mailbox_full": "MailboxFull",
    "too_large": "MessageTooLarge",
    "content": "ContentRejected",
    "spam": "ContentRejected",
}

DELIVERED = Classification("delivered", "delivered")
_NO_REPLY = Classification("deferred", "protocol")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, ready to be compared. `certain`: no doubt takes `hard` back."""

    name: str
    conditions: Conditions
    category: Category
    bounce: Bounce
    hard: bool = False
    certain: bool = False
    try_again: bool | None = None
    attempts: int = 0

    @classmethod
    def of(cls, written: BounceRule, *, certain: bool = False) -> "Rule":
        return cls(
            name=written.name,
            conditions=Conditions.written_in(written),
            category=written.category,
            bounce=_bounce(written),
            hard=written.hard,
            certain=certain,
            try_again=written.try_again,
            attempts=written.attempts or 0,
        )


def _bounce(written: BounceRule) -> Bounce:
    """The bounce of a rule where the address is not dead."""
    if written.bounce is None:
        return bounce_of(written.category)
    kind, _, subtype = written.bounce.partition("/")
    return Bounce(kind, subtype)  # type: ignore[arg-type]  # of `SoftBounce`


def bounce_of(outcome: Outcome, *, hard: bool = False) -> Bounce:
    """SES's type and subtype of an outcome."""
    if hard:
        return Bounce("Permanent", "NoEmail" if outcome == "mailbox_unknown" else "General")
    if outcome in ("other", "unclassified"):
        return _UNDETERMINED
    return Bounce("Transient", _SUBTYPES[outcome]) if outcome in _SUBTYPES else GENERAL


class Classifier:
    """The rules of one configuration. Remembers what it was asked: a destination that refuses a
    thousand messages says the same each time, but for an id or a time."""

    def __init__(
        self, rules: Iterable[Rule], own: Iterable[Rule], doubts: Iterable[Conditions]
    ) -> None:
        self.rules = tuple(rules)
        self._own = tuple(own)
        self._doubts = tuple(doubts)
        self._find = lru_cache(_REMEMBERED)(self._search)

    @classmethod
    def of(cls, bounces: Bounces) -> "Classifier":
        """The rules of the configuration, then the shipped ones."""
        if not bounces.rules:
            return shipped_classifier()
        shipped = shipped_classifier()
        custom = [Rule.of(rule, certain=True) for rule in bounces.rules]
        return cls([*custom, *shipped.rules], shipped._own, shipped._doubts)

    @property
    def remembered(self) -> int:
        """How many different replies are."""
        return self._find.cache_info().currsize

    def classify(
        self, reply: Reply, phase: Phase, recipient: str = "", provider: str = ""
    ) -> Classification:
        """What `reply` means for a recipient when it is all that `phase` gave.

        `recipient` is the address; after RCPT a reply speaks of the whole message, and is a hard
        bounce only where its text names the address. `provider` is the name of the provider
        definition that the destination belongs to.
        """
        if phase == "final" and 200 <= reply.code < 300:
            return DELIVERED
        if not 400 <= reply.code < 600:
            return _NO_REPLY
        text = _UNIQUE.sub("", _ADDRESS.sub("", reply.text[:REPLY_CHARACTERS])).strip().lower()
        rule, doubtful = self._find(
            str(reply.code), reply.enhanced, text, phase, provider, reply.said_by_peer
        )
        if rule is None:
            kind = _kind(reply, phase, None)
            return Classification(kind, "unclassified", bounce=_UNDETERMINED)
        kind = _kind(reply, phase, rule)
        hard = (
            rule.hard
            and kind == "bounced"
            and (rule.certain or not doubtful)
            and _speaks_of(recipient, reply, phase)
        )
        return Classification(
            kind,
            rule.category,
            hard_bounce=hard,
            bounce=bounce_of(rule.category, hard=True) if hard else rule.bounce,
            rule=rule.name,
            attempts=rule.attempts if kind == "deferred" else 0,
        )

    def _search(
        self, code: str, enhanced: str, text: str, phase: str, provider: str, said_by_peer: bool
    ) -> tuple[Rule | None, bool]:
        """The first rule that agrees, and whether there is doubt that the address is dead."""
        rules = self.rules if said_by_peer else self._own
        said = code, enhanced, text, phase, provider
        found = next((rule for rule in rules if rule.conditions.agree(*said)), None)
        doubtful = said_by_peer and any(doubt.agree(*said) for doubt in self._doubts)
        return found, doubtful


def _kind(reply: Reply, phase: Phase, rule: Rule | None) -> Kind:
    """Whether it is tried again: as the rule says, else as the code does."""
    if rule is not None and rule.try_again is not None:
        return "deferred" if rule.try_again else "bounced"
    if reply.code < 500 or phase in _BEFORE_MAIL or reply.code == 503:
        return "deferred"
    return "bounced"


def _speaks_of(recipient: str, reply: Reply, phase: Phase) -> bool:
    """Whether a reply is about this recipient alone."""
    if phase == "routing":
        return not reply.said_by_peer
    if phase == "rcpt":
        return True
    names_it = bool(recipient) and recipient.lower() in reply.text.lower()
    return phase in ("data", "content", "final") and names_it


@cache
def shipped_classifier() -> Classifier:
    """The rules that ship with the relay, and no others."""
    shipped = shipped_bounces()
    return Classifier(
        [Rule.of(rule) for rule in shipped.rules],
        [Rule.of(rule) for rule in shipped.own],
        [
            Conditions.of(code=shipped.doubt.code),
            Conditions.of(enhanced=shipped.doubt.enhanced),
            Conditions.of(text=shipped.doubt.text),
        ],
    )


def classify(reply: Reply, phase: Phase, recipient: str = "") -> Classification:
    """As `Classifier.classify`, by the shipped rules."""
    return shipped_classifier().classify(reply, phase, recipient)

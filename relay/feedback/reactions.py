"""What a provider's reply makes us do: rules, and the one that a reply meets.

Pure. The rules of the configuration come first, then those that ship with the relay; the first
that agrees with a reply decides. Only what a peer really said is looked at: a lost connection is no
reply, whatever text this relay gives it, and an action that followed from our own words would
follow again from what it brings about.

What a rule does is done elsewhere: what concerns the one delivery in `relay.delivery.reacting`,
what holds for all mail of a source to a line in `relay.feedback.restraints`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from relay.config.model import Config
from relay.config.reactions import RESTRAINING, Action, ReactionRule, Trigger
from relay.config.shipped import shipped_reactions
from relay.feedback.conditions import Conditions
from relay.feedback.outcome import REPLY_CHARACTERS, Phase
from relay.mail.replies import Reply

_REMEMBERED = 1_000

Origin = Literal["configuration", "shipped"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, ready to be compared. `seconds` is how long what it does lasts; `tries_again` says
    that a permanent reply gives nothing up."""

    name: str
    conditions: Conditions
    action: Action
    seconds: float
    after: Trigger | None
    origin: Origin
    tries_again: bool = False

    @classmethod
    def of(cls, written: ReactionRule, origin: Origin) -> "Rule":
        return cls(
            name=written.name,
            conditions=Conditions.written_in(written),
            action=written.action,
            seconds=written.seconds,
            after=written.after,
            origin=origin,
            tries_again=written.tries_again,
        )

    @property
    def restrains(self) -> bool:
        """Whether it holds for all mail of the source to the line."""
        return self.action in RESTRAINING


class Rules:
    """The rules of one configuration, in the order in which they are asked. Remembers what it was
    asked: a destination that refuses a thousand messages says the same each time."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._find = lru_cache(_REMEMBERED)(self._search)

    @classmethod
    def of(cls, config: Config) -> "Rules":
        """Those of the configuration, then the shipped ones."""
        custom = (Rule.of(written, "configuration") for written in config.reactions)
        shipped = (Rule.of(written, "shipped") for written in shipped_reactions())
        return cls((*custom, *shipped))

    def find(self, reply: Reply, phase: Phase, provider: str) -> Rule | None:
        """The first rule that a peer's reply meets; None for a reply of our own, or a yes."""
        if not reply.said_by_peer or reply.code < 400:
            return None
        return self._find(reply, phase, provider)

    def _search(self, reply: Reply, phase: Phase, provider: str) -> Rule | None:
        text = reply.text[:REPLY_CHARACTERS].lower()
        said = str(reply.code), reply.enhanced, text, phase, provider
        return next((rule for rule in self._rules if rule.conditions.agree(*said)), None)

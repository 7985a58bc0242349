"""The section `reactions`: what is to be done when a provider says this or that.

Rules as they are written, here and in the file that ships with the relay. What they mean, and how a
reply is matched, is in `relay.feedback.reactions`.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from relay.config.patterns import parse_pattern
from relay.config.section import Section
from relay.config.units import parse_duration

Action = Literal[
    "slow_down",
    "fewer_connections",
    "pause",
    "other_source",
    "retry_later",
    "bounce",
    "nothing",
]
ReplyPhase = Literal["greeting", "ehlo", "tls", "mail", "rcpt", "data", "content", "final"]

RESTRAINING: frozenset[Action] = frozenset(
    {"slow_down", "fewer_connections", "pause", "other_source"}
)
"""Actions that hold for all mail of a source to a line, for a time."""

_USUAL_SECONDS: dict[Action, float] = {
    "slow_down": 300.0,
    "fewer_connections": 600.0,
    "pause": 1_800.0,
    "other_source": 3_600.0,
    "retry_later": 300.0,
}
_LONGEST = 7 * 86_400.0
_MOST_COUNTED = 200

_CODE = re.compile(r"[45](?:[0-9][0-9x]|xx)")
_ENHANCED = re.compile(r"[45]\.(?:[0-9]{1,3}\.(?:[0-9]{1,3}|\*)|\*)")
_TRIGGER = re.compile(r"(?P<count>[0-9]{1,4})\s+in\s+(?P<span>\S.*)")


@dataclass(frozen=True, slots=True)
class Trigger:
    """So many replies in so many seconds, before anything is done."""

    count: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.count} in {self.seconds:g}s"


def as_list(value: object) -> object:
    """One value, where a list of them may stand."""
    return value if isinstance(value, list | tuple) else [value]


def _code(value: object) -> object:
    text = str(value)
    if not _CODE.fullmatch(text):
        raise ValueError("allowed is a reply code such as 421, 45x or 4xx")
    return text


def _enhanced(text: str) -> str:
    if not _ENHANCED.fullmatch(text):
        raise ValueError("allowed is an enhanced code such as 4.7.28, 4.7.* or 4.*")
    return text


def _trigger(value: object) -> object:
    if isinstance(value, Trigger):
        return value
    match = _TRIGGER.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        seconds = parse_duration(match["span"]) if match else 0.0
    except ValueError:
        seconds = 0.0
    if match is None or not 1 <= int(match["count"]) <= _MOST_COUNTED or not 1 <= seconds <= 86_400:
        raise ValueError(f"allowed is a number in a time, as 3 in 5m; at most {_MOST_COUNTED:,}")
    return Trigger(int(match["count"]), seconds)


def _duration(value: object) -> float:
    seconds = parse_duration(value)
    if not 1 <= seconds <= _LONGEST:
        raise ValueError("allowed is a time from 1s to 7d")
    return seconds


Codes = Annotated[
    tuple[Annotated[str, BeforeValidator(_code)], ...],
    BeforeValidator(as_list),
    Field(max_length=50),
]
EnhancedCodes = Annotated[
    tuple[Annotated[str, AfterValidator(_enhanced)], ...],
    BeforeValidator(as_list),
    Field(max_length=50),
]
Patterns = Annotated[
    tuple[Annotated[str, AfterValidator(parse_pattern)], ...],
    BeforeValidator(as_list),
    Field(max_length=50),
]
Providers = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], ...],
    BeforeValidator(as_list),
    Field(max_length=100),
]
Phases = Annotated[tuple[ReplyPhase, ...], BeforeValidator(as_list), Field(max_length=10)]


class ReactionRule(Section):
    """What to do with a reply that all of the conditions given here agree with."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    code: Codes = Field((), description="421, 45x, 4xx; or a list, one of which")
    enhanced: EnhancedCodes = Field((), description="4.7.28, 4.7.*, 4.*; or a list, one of which")
    text: Patterns = Field((), description="regular expressions, one of which is found")
    unless: Patterns = Field((), description="regular expressions, none of which is found")
    provider: Providers = Field((), description="names of provider definitions; empty: all")
    phase: Phases = Field((), description="when it was said; empty: at any time")
    action: Action
    duration: Annotated[float, BeforeValidator(_duration)] | None = Field(
        None, description="how long; each action has its usual one"
    )
    try_again: Annotated[bool, Field(strict=True)] | None = Field(
        None, description="whether mail refused with 5yz is tried again all the same"
    )
    after: Annotated[Trigger, BeforeValidator(_trigger)] | None = Field(
        None, description="so many such replies first, as 3 in 5m"
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> "ReactionRule":
        if not (self.code or self.enhanced or self.text or self.phase):
            raise ValueError("allowed is a rule with at least one of code, enhanced, text, phase")
        if self.duration is not None and self.action not in _USUAL_SECONDS:
            raise ValueError(f"allowed is no duration with {self.action}, which takes none")
        if self.after is not None and self.action not in RESTRAINING:
            raise ValueError(f"allowed is `after` with {', '.join(sorted(RESTRAINING))} only")
        if self.try_again is not None and self.action not in RESTRAINING:
            raise ValueError(f"allowed is `try_again` with {', '.join(sorted(RESTRAINING))} only")
        return self

    @property
    def tries_again(self) -> bool:
        """Whether a permanent reply gives nothing up: what was refused is how we send, or from
        where, and not this message. So it is where nothing else is written."""
        if self.try_again is not None:
            return self.try_again
        return self.action in RESTRAINING or self.action == "retry_later"

    @property
    def seconds(self) -> float:
        """How long what it does lasts; 0 where it does not last."""
        return self.duration or _USUAL_SECONDS.get(self.action, 0.0)

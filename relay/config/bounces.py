"""The section `bounces`: what a reply means for a recipient.

Rules as they are written, here and in the file that ships with the relay (`bounces.yaml`). How a
reply is matched, and what follows, is in `relay.feedback.classify`.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from relay.config.reactions import Codes, EnhancedCodes, Patterns, Providers, as_list
from relay.config.section import Section

Category = Literal[
    "mailbox_unknown",
    "mailbox_inactive",
    "mailbox_full",
    "domain_unknown",
    "too_large",
    "content",
    "spam",
    "blocked",
    "policy",
    "relay_denied",
    "auth",
    "throttled",
    "greylisted",
    "unavailable",
    "unreachable",
    "timeout",
    "tls",
    "protocol",
    "dns",
    "local",
    "expired",
    "other",
]
"""What a reply is about, in a word (docs/bounces.md explains each)."""

SoftBounce = Literal[
    "Transient/General",
    "Transient/MailboxFull",
    "Transient/MessageTooLarge",
    "Transient/ContentRejected",
    "Transient/AttachmentRejected",
    "Undetermined/Undetermined",
]
"""SES's bounceType and bounceSubType where the address is not dead."""

Moment = Literal[
    "routing",
    "connect",
    "greeting",
    "ehlo",
    "tls",
    "auth",
    "mail",
    "rcpt",
    "data",
    "content",
    "final",
    "local",
]

MOST_RULES = 1_000
_DEADLY: frozenset[Category] = frozenset({"mailbox_unknown", "mailbox_inactive", "domain_unknown"})


class BounceRule(Section):
    """What a reply means that all of the conditions given here agree with."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    code: Codes = Field((), description="550, 45x, 5xx; or a list, one of which")
    enhanced: EnhancedCodes = Field((), description="5.1.1, 5.7.*, 5.*; or a list, one of which")
    text: Patterns = Field((), description="regular expressions, one of which is found")
    unless: Patterns = Field((), description="regular expressions, none of which is found")
    provider: Providers = Field((), description="names of provider definitions; empty: all")
    phase: Annotated[tuple[Moment, ...], BeforeValidator(as_list), Field(max_length=12)] = Field(
        (), description="when it was said; empty: at any time"
    )
    category: Category = Field(description="what it is about, for people and metrics")
    hard: Annotated[bool, Field(strict=True)] = Field(
        False, description="the address is dead: a hard bounce, which enters the suppression list"
    )
    bounce: SoftBounce | None = Field(
        None, description="SES's type and subtype; default: by category"
    )
    try_again: Annotated[bool, Field(strict=True)] | None = Field(
        None, description="whether it is tried again; default: as the reply code says"
    )
    attempts: Annotated[int, Field(ge=1, le=1_000)] | None = Field(
        None, description="after so many attempts in all it bounces though it might be tried again"
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> "BounceRule":
        if self.hard and self.category not in _DEADLY:
            raise ValueError(f"allowed is `hard` with {', '.join(sorted(_DEADLY))} only")
        if self.hard and self.bounce is not None:
            raise ValueError("allowed is no `bounce` with `hard`, which is Permanent")
        if self.hard and self.try_again:
            raise ValueError("allowed is no `try_again` with `hard`: nobody tries a dead address")
        if self.hard and not (self.enhanced or self.text):
            raise ValueError(
                "allowed is `hard` with `enhanced` or `text` only: a reply code alone does not say"
                " that an address is dead, and all that meet the rule would be suppressed"
            )
        if self.attempts is not None and self.try_again is False:
            raise ValueError("allowed is no `attempts` where `try_again` is false")
        return self


class Doubt(Section):
    """What keeps an address from being called dead by the shipped rules."""

    code: Codes = ()
    enhanced: EnhancedCodes = ()
    text: Patterns = ()


class ShippedBounces(Section):
    """The section as `bounces.yaml` has it. `own` judges replies that the relay itself gave."""

    doubt: Doubt
    own: tuple[BounceRule, ...]
    rules: tuple[BounceRule, ...]


class Bounces(Section):
    """How replies are understood, and what is kept of those that no rule knows."""

    rules: tuple[BounceRule, ...] = Field(
        (), max_length=MOST_RULES, description="asked before those that ship with the relay"
    )
    keep_unclassified: int = Field(
        1_000, ge=0, le=100_000, description="different replies that no rule knew; 0: none"
    )

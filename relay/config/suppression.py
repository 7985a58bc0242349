"""The section `suppression`: which outcomes enter the suppression list, and for whom it holds.

A configuration set that says nothing does as the account says; one with reasons of its own does as
they say; an empty list there switches suppression off for its mail. What operators add holds for
all sets but those with the empty list.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from relay.config.section import Section
from relay.config.units import parse_duration

SuppressionReason = Literal["bounce", "complaint", "manual"]
ObservedReason = Literal["bounce", "complaint"]
"""What the relay adds by itself."""

_OBSERVED: tuple[ObservedReason, ...] = ("bounce", "complaint")
_GONE = {
    "add_hard_bounces": "allowed is `reasons` in the place of add_hard_bounces, which is no key any"
    " more (where it was false: reasons: [complaint])",
    "expire_after": "allowed is `expire` in the place of expire_after, which is no key any more"
    " (for 30d: expire: {first: 30d, most: 30d})",
}

_Span = Annotated[float, BeforeValidator(parse_duration), Field(ge=60.0, le=10 * 365 * 86_400.0)]


class Expiry(Section):
    """How long an address stays that bounced: longer with each bounce, as on SES's global list."""

    first: _Span = Field(86_400.0, description="after one bounce; doubled with each further one")
    most: _Span = Field(1_209_600.0, description="and never longer than this")

    @model_validator(mode="after")
    def _grows(self) -> "Expiry":
        if self.most < self.first:
            raise ValueError("allowed is a `most` that is not shorter than `first`")
        return self


class Suppression(Section):
    """What enters the suppression list by itself and keeps mail from being sent, where a
    configuration set does not say otherwise."""

    reasons: tuple[ObservedReason, ...] = Field(
        _OBSERVED, max_length=2, description="[] adds nothing and heeds what operators added"
    )
    expire: Expiry | None = Field(None, description="bounces alone; absent: they stay for good")
    keep_changes: Annotated[float, BeforeValidator(parse_duration)] = Field(
        31_536_000.0, description="how long the log of changes goes back"
    )
    most_changes: int = Field(
        1_000_000, ge=0, le=100_000_000, description="in that log, some 200 octets each"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_it_was(cls, value: object) -> object:
        """Keys of earlier versions are refused with the words for them of today."""
        for key, instead in _GONE.items():
            if isinstance(value, dict) and key in value:
                raise ValueError(instead)
        return value


def reasons_checked(
    own: Sequence[SuppressionReason] | None, account: Suppression
) -> tuple[SuppressionReason, ...]:
    """For which reasons an entry keeps mail of a set with these reasons of its own (None: it has
    none) from being sent."""
    if own is not None and not own:
        return ()
    return (*reasons_added(own, account), "manual")


def reasons_added(
    own: Sequence[SuppressionReason] | None, account: Suppression
) -> tuple[ObservedReason, ...]:
    """Which outcomes of mail of such a set are added to the list."""
    wanted = account.reasons if own is None else own
    return tuple(reason for reason in _OBSERVED if reason in wanted)

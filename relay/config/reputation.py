"""When a stream of mail is warned of, and paused, for its bounces and complaints (`reputation`)."""

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field

from relay.config.section import Section
from relay.config.units import parse_days

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s*%")


def parse_share(value: object) -> float:
    """`5%` is 0.05; above 0 and at most 100%."""
    if isinstance(value, float) and 0 < value <= 1:  # as a default is written
        return value
    match = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not 0 < float(match[1]) <= 100:
        raise ValueError("allowed is a share such as 5% or 0.1%")
    return float(match[1]) / 100


def _share_or_never(value: object) -> object:
    try:
        return value if value == "never" else parse_share(value)
    except ValueError as error:
        raise ValueError(f"{error}, or never") from None


Share = Annotated[float, BeforeValidator(parse_share)]
ShareOrNever = Annotated[float | Literal["never"], BeforeValidator(_share_or_never)]
Days = Annotated[int, BeforeValidator(parse_days)]


class Threshold(Section):
    """Shares of the recipients with an outcome; nothing is judged by fewer than `minimum`."""

    warn: Share
    pause: ShareOrNever = Field(description="never: it is left to people")
    minimum: int = Field(ge=1, le=10_000_000)

    def on_top_of(self, other: Self) -> Self:
        """What is said here, and as `other` where nothing is."""
        return other.model_copy(
            update={name: getattr(self, name) for name in self.model_fields_set}
        )


class BounceThreshold(Threshold):
    warn: Share = 0.05
    pause: ShareOrNever = 0.10
    minimum: int = Field(200, ge=1, le=10_000_000)


class ComplaintThreshold(Threshold):
    warn: Share = 0.001
    pause: ShareOrNever = 0.005
    minimum: int = Field(1_000, ge=1, le=10_000_000)


class Reputation(Section):
    """What is judged: hard bounces and complaints among the newest `volume` recipients, those of a
    day at least and of `days` at most."""

    bounces: BounceThreshold = BounceThreshold()
    complaints: ComplaintThreshold = ComplaintThreshold()
    volume: int = Field(10_000, ge=1, le=100_000_000)
    days: Days = Field(30, description="2d to 366d; what is older counts no more")

    def on_top_of(self, other: "Reputation") -> "Reputation":
        """What a configuration set says here, and as all others (`other`) where it says nothing."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        said |= {
            "bounces": self.bounces.on_top_of(other.bounces),
            "complaints": self.complaints.on_top_of(other.complaints),
        }
        return other.model_copy(update=said)

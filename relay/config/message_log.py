"""How long, and how much, is kept of what became of mail (`message_log`)."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from relay.config.section import Section
from relay.config.units import parse_duration, parse_size


class MessageLog(Section):
    """Messages without their bodies, and their events. What is older, or too much, goes; the oldest
    first."""

    keep: Annotated[float, BeforeValidator(parse_duration)] = Field(
        2_592_000.0, ge=3_600, description="how long"
    )
    size: Annotated[int, BeforeValidator(parse_size)] = Field(
        10_000_000_000, ge=10_000_000, description="octets on disk at most, give or take a little"
    )

"""How a provider wants its mail: the sections `providers` and `pools.NAME.providers`.

A key that is left out is decided elsewhere (see `relay.limits.shapes`); `unlimited` takes back a
limit that would hold otherwise.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from relay.config.names import parse_domain
from relay.config.section import Section
from relay.config.units import Rate, parse_quota, parse_rate

DEFAULT = "default"
"""The name of the definition for every destination that no other one matches."""

MOST_RATES = 4
UNLIMITED = "unlimited"


def _or_unlimited(parse: Callable[[object], object]) -> Callable[[object], object]:
    def read(value: object) -> object:
        if value == UNLIMITED:
            return value
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f"{error}, or {UNLIMITED}") from error

    return read


_read_rate = _or_unlimited(parse_rate)


def _rates(value: object) -> object:
    """One rate or several, the shortest first."""
    if value == UNLIMITED:
        return ()
    if not isinstance(value, list | tuple):
        return (_read_rate(value),)
    try:
        rates = sorted(map(parse_rate, value), key=lambda rate: rate.seconds)
    except ValueError:
        rates = []
    if not 0 < len({rate.seconds for rate in rates}) == len(rates) <= MOST_RATES:
        raise ValueError(
            f"allowed is a list of up to {MOST_RATES} rates, each over another time, as"
            " [20/s, 5000/h]; a comma in brackets ends an entry, so write 5000/h without one"
        )
    return tuple(rates)


Unlimited = Literal["unlimited"]
Rates = Annotated[tuple[Rate, ...], BeforeValidator(_rates)]
OneRate = Annotated[Rate | Unlimited, BeforeValidator(_read_rate)]
DayQuota = Annotated[int | Unlimited, BeforeValidator(_or_unlimited(parse_quota))]
DomainSuffix = Annotated[str, AfterValidator(parse_domain)]


class Shaping(Section):
    """What one source address sends to one provider at most. Rates count recipients."""

    connections: int | None = Field(None, ge=1, le=10_000, description="open at the same time")
    messages_per_connection: int | None = Field(None, ge=1)
    recipients: int | None = Field(None, ge=1, le=100, description="of one transaction")
    rate: Rates | None = Field(None, description="one, or several such as [20/s, 5000/h]")
    quota: DayQuota | None = Field(None, description="recipients in a rolling 24 hours")
    connection_rate: OneRate | None = Field(None, description="connections opened")


class Provider(Shaping):
    """Who a provider is: its recipient domains, and the names of its mail exchanges."""

    domains: tuple[DomainSuffix, ...] | None = Field(
        None, max_length=10_000, description="recipient domains, exactly"
    )
    exchanges: tuple[DomainSuffix, ...] | None = Field(
        None, max_length=1_000, description="MX hosts: these names, and all names below them"
    )

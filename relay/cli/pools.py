"""`relay pools` and `relay warmup`: source addresses, and how far their warm-ups have come."""

from collections.abc import Callable
from typing import Annotated

from cyclopts import App, Parameter

from relay.admin.endpoints import POOLS, WARMUP, Nothing
from relay.admin.pools import Allowance, PoolSource, WarmupChange, WarmupRequest
from relay.cli.desk import open_desk
from relay.cli.failures import OK
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import plural, print_json, print_table, say, span, utc_ms

app = App(
    name="warmup",
    help="Set, pause, resume, complete or restart the warm-up of a source address.",
    help_format="plaintext",
)

AddressArgument = Annotated[str, Parameter(name="ADDRESS", help="The source's IP address.")]


def pools(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """List pools and their source addresses: weight, state, and of a warm-up the day, today's
    allowance, what was used of it in the last 24 hours, and when the next day begins."""
    with open_desk(config) as desk:
        found = desk.call(POOLS, Nothing())
    if as_json:
        print_json(found)
    else:
        print_table(
            ("pool", "source", "weight", "state", "day", "allowance", "used", "next"),
            [_row(each, utc_ms()) for each in found],
        )
    return OK


@app.command(name="set")
def set_day(
    address: AddressArgument,
    /,
    *,
    day: Annotated[int, Parameter(name="--day", help="The day of its schedule, from 1.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Begin a day of the schedule now: what that day allows is allowed at once."""
    return _change(address, "set", config, as_json, day)


@app.command
def pause(
    address: AddressArgument, /, *, config: ConfigOption = None, as_json: JsonOption = False
) -> int:
    """Stay at the day that it is: it goes on sending what that day allows."""
    return _change(address, "pause", config, as_json)


@app.command
def resume(
    address: AddressArgument, /, *, config: ConfigOption = None, as_json: JsonOption = False
) -> int:
    """Go on where it was paused."""
    return _change(address, "resume", config, as_json)


@app.command
def complete(
    address: AddressArgument, /, *, config: ConfigOption = None, as_json: JsonOption = False
) -> int:
    """Call it warm: nothing limits it any more but its own rate and quota."""
    return _change(address, "complete", config, as_json)


@app.command
def restart(
    address: AddressArgument, /, *, config: ConfigOption = None, as_json: JsonOption = False
) -> int:
    """Begin at the first day again, as for an address that rested for long."""
    return _change(address, "restart", config, as_json)


def _change(
    address: str, change: WarmupChange, config: ConfigOption, as_json: bool, day: int = 0
) -> int:
    with open_desk(config) as desk:
        found = desk.call(WARMUP, WarmupRequest(address, change, day))
    if as_json:
        print_json(found)
    else:
        say(f"{found.address} is {_standing(found)}")
    return OK


def _standing(source: PoolSource) -> str:
    """As `warming up: day 3 of 45, 68 in 24 hours`."""
    if source.state == "warm":
        return "warm"
    allowed = f"day {source.day} of {source.days}, {source.allowances[0].allowance:,} in 24 hours"
    return f"{'paused' if source.state == 'paused' else 'warming up'}: {allowed}"


def _row(source: PoolSource, now: int) -> tuple[object, ...]:
    state: str = source.state if source.weight or source.fault else f"{source.state}, weight 0"
    return (
        source.pool,
        source.address,
        source.weight,
        f"{state}: {source.fault}" if source.fault else state,
        f"{source.day} of {source.days}" if source.day else "",
        _each(source.allowances, lambda each: each.allowance),
        _each(source.allowances, lambda each: each.used),
        _next(source, now),
    )


def _each(allowances: tuple[Allowance, ...], figure: Callable[[Allowance], int]) -> str:
    """The figure in all, and those of providers behind it, as `576, google 40`."""
    return ", ".join(f"{each.provider} {figure(each):,}".strip() for each in allowances)


def _next(source: PoolSource, now: int) -> str:
    """When the next day begins, as `in 5h 3m` or `after 12 more recipients`."""
    if not source.next_at:
        return ""
    waits = [f"in {span((source.next_at - now) / 1000)}"] if source.next_at > now else []
    if source.missing:
        waits.append(f"after {plural(source.missing, 'more recipient')}")
    return " and ".join(waits) or "now"

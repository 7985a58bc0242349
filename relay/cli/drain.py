"""`relay drain`: a relay that is about to be stopped gives its mail away first."""

import time
from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter

from relay.admin.client import Client
from relay.admin.endpoints import DRAIN, DRAIN_OFF, DRAIN_SHOW, Nothing
from relay.admin.nodes import DrainStatus
from relay.cli.failures import FAILED, OK, USAGE, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import plural, print_json, say, warn
from relay.cli.place import find_config
from relay.config.units import parse_duration

_LOOKS_EVERY = 0.5  # seconds
_PATIENCE = 600.0  # for workers that start: those that still finish have `shutdown.grace` before


def drain(
    *,
    timeout: Annotated[
        str, Parameter(help="Wait for so long at most: 5m unless said otherwise; 1s to 24h.")
    ] = "5m",
    off: Annotated[
        bool, Parameter(name="--off", negative="", help="Have a drained relay serve again.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Have the running relay take no more mail, finish what is under way, and leave the rest to the
    other relays that share its store; where there are none it waits in the queue.

    Waits for it, and says how far it is. Exits 1 where that takes longer than --timeout: the relay
    goes on with it. A drained relay may be stopped; one that is started serves.
    """
    seconds = _seconds(timeout)
    client = Client(find_config(config).data_dir(), timeout=_PATIENCE)
    if off:
        return _tell_end(client.call(DRAIN_OFF, Nothing()), as_json)
    client.call(DRAIN, Nothing())
    found = _wait(lambda: client.call(DRAIN_SHOW, Nothing()), seconds)
    if as_json:
        print_json(found)
    elif found.state == "drained":
        say(f"drained: {_what_next(found)}")
    else:
        warn(f"relay: not drained within {timeout} ({_under_way(found)}); it goes on with it")
    return OK if found.state == "drained" else FAILED


def _wait(look: Callable[[], DrainStatus], seconds: float) -> DrainStatus:
    """Until it is drained, or is not draining any more, or the time is over; says what changes."""
    deadline = time.monotonic() + seconds
    told = ""
    while (found := look()).state == "draining" and time.monotonic() < deadline:
        if (text := _under_way(found)) != told:
            warn(f"draining: {text}")
            told = text
        time.sleep(min(_LOOKS_EVERY, max(0.0, deadline - time.monotonic())))
    if found.state == "serving":
        raise CommandFailed("somebody has had the relay serve again", FAILED)
    return found


def _under_way(found: DrainStatus) -> str:
    return (
        f"{plural(found.sessions, 'session')}, {plural(found.working_set, 'delivery')} in memory,"
        f" {plural(found.outbound_connections, 'connection')} to destinations"
    )


def _what_next(found: DrainStatus) -> str:
    if found.others:
        return f"its mail is for {', '.join(found.others)}. It may be stopped."
    return (
        "no other relay serves, so the queue waits until this one is started again, or serves"
        " after `relay drain --off`. It may be stopped."
    )


def _tell_end(found: DrainStatus, as_json: bool) -> int:
    if as_json:
        print_json(found)
    else:
        say("the relay serves")
    return OK


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise CommandFailed(f"--timeout {text!r}: {error}", USAGE) from None
    if not 1 <= seconds <= 86_400:
        raise CommandFailed(f"--timeout {text!r}: allowed is 1s to 24h", USAGE)
    return seconds

"""`relay reputation`: what share of mail bounces or is complained of, and what is paused for it."""

import getpass
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, Parameter

from relay.admin.endpoints import (
    REPUTATION,
    REPUTATION_FRESH_START,
    REPUTATION_PAUSE,
    REPUTATION_RESUME,
)
from relay.admin.reputation import (
    FreshStartRequest,
    PauseRequest,
    ResumeSendingRequest,
    Standing,
    StandingRequest,
)
from relay.cli.desk import open_desk
from relay.cli.failures import OK
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import moment, print_facts, print_json, print_table, say
from relay.feedback.reputation import percent
from relay.feedback.tallying import HOUR_MS

app = App(
    name="reputation",
    help="Show what share of mail bounces and is complained of; pause and resume streams.",
    help_format="plaintext",
)

_HOURS_SHOWN = 48

StreamArgument = Annotated[
    str, Parameter(name="STREAM", help="set:NAME or credential:NAME, as list shows it.")
]
DimensionArgument = Annotated[
    str, Parameter(name="DIMENSION", help="As list shows it: account, set:NAME, source:ADDRESS …")
]
ReasonOption = Annotated[
    str, Parameter(help="Why; told in the event, and of a pause in each refusal.")
]


@app.default
@app.command(name="list")
def list_standings(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """List the account, configuration sets, credentials, identities, pools, sources and providers
    with the share of hard bounces and complaints in the volume that each is judged by."""
    with open_desk(config) as desk:
        found = desk.call(REPUTATION, StandingRequest())
    if as_json:
        print_json(found)
    elif not found:
        say("nothing was sent that counts")
    else:
        print_standings(found)
    return OK


@app.command
def show(
    dimension: DimensionArgument,
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show one of them in detail: thresholds, what it takes to heal, and its hours."""
    with open_desk(config) as desk:
        (found,) = desk.call(REPUTATION, StandingRequest(dimension))
    if as_json:
        print_json(found)
        return OK
    volume = found.volume
    print_facts(
        [
            ("judged", found.dimension),
            ("status", status(found)),
            ("volume", f"{volume.sent:,} recipients since {moment(volume.since)}"),
            ("bounces", f"{volume.bounced:,} hard ({percent(volume.bounce_rate)})"),
            ("complaints", f"{volume.complained:,} ({percent(volume.complaint_rate)})"),
            ("thresholds", found.rules),
            ("to heal", "; ".join(_to_heal(found))),
            ("paused", f"{moment(found.pause.since)} by {found.pause.by}" if found.pause else ""),
            ("because", found.pause.reason if found.pause else ""),
            ("fresh start", moment(found.fresh_start) if found.fresh_start else ""),
        ]
    )
    if found.hours:
        say("")
        newest = sorted(found.hours, key=lambda tally: tally.hour, reverse=True)[:_HOURS_SHOWN]
        print_table(
            ("hour", "recipients", "bounces", "complaints"),
            [
                (moment(t.hour * HOUR_MS), f"{t.sent:,}", f"{t.bounced:,}", f"{t.complained:,}")
                for t in newest
            ],
        )
    return OK


@app.command
def pause(
    stream: StreamArgument,
    /,
    *,
    reason: ReasonOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Refuse new mail of a configuration set or a credential until it is resumed. What is queued
    already goes on; `relay suspend` has that wait."""
    with open_desk(config) as desk:
        made = desk.call(REPUTATION_PAUSE, PauseRequest(stream, reason, _who()))
    if as_json:
        print_json(made)
    else:
        say(f"{made.key} is paused: its new mail is refused with 554 5.7.1")
    return OK


@app.command
def resume(
    stream: StreamArgument,
    /,
    *,
    reason: ReasonOption,
    fresh_start: Annotated[
        bool, Parameter(help="Have its reputation count from now on; else it may pause again.")
    ] = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Take new mail of a paused configuration set or credential again. Exits 1 when it is not
    paused."""
    request = ResumeSendingRequest(stream, reason, _who(), fresh_start)
    with open_desk(config) as desk:
        answer = desk.call(REPUTATION_RESUME, request)
    if as_json:
        print_json(answer)
    else:
        say(f"{stream} is resumed" + (", with a fresh start" if fresh_start else ""))
    return OK


@app.command(name="fresh-start")
def start_afresh(
    dimension: DimensionArgument,
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Have a reputation count from now on: what was before is left out of its rates."""
    with open_desk(config) as desk:
        answer = desk.call(REPUTATION_FRESH_START, FreshStartRequest(dimension))
    if as_json:
        print_json(answer)
    else:
        say(f"the reputation of {dimension} counts from now on")
    return OK


def print_standings(found: Sequence[Standing]) -> None:
    """A table of all."""
    print_table(
        ("judged", "recipients", "since", "bounces", "complaints", "status"),
        [
            (
                one.dimension,
                f"{one.volume.sent:,}",
                moment(one.volume.since),
                f"{one.volume.bounced:,} ({percent(one.volume.bounce_rate)})",
                f"{one.volume.complained:,} ({percent(one.volume.complaint_rate)})",
                status(one),
            )
            for one in found
        ],
    )


def status(standing: Standing) -> str:
    """In a word or two: a pause first, then the worst finding."""
    if standing.pause is not None:
        return "paused"
    bad = [finding for finding in standing.findings if finding.level != "healthy"]
    if not bad:
        return "healthy"
    beyond = [f.metric for f in bad if f.level == "paused"]
    if beyond:
        return f"bad: {' and '.join(beyond)}"
    return f"warned: {' and '.join(f.metric for f in bad)}"


def _to_heal(standing: Standing) -> list[str]:
    return [
        f"{count:,} good recipients more for {finding.metric}"
        for finding, count in zip(standing.findings, standing.to_heal, strict=True)
        if count
    ]


def _who() -> str:
    """The user who gives the order; where the host does not know the name, an operator."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""

"""`relay suspend`, `relay resume` and `relay suspensions`: have mail wait, and let it go again."""

from typing import Annotated

from cyclopts import Parameter

from relay.admin.endpoints import RESUME, SUSPEND, SUSPENSIONS, Nothing
from relay.admin.suspensions import ResumeRequest, SuspendRequest
from relay.cli.desk import open_desk
from relay.cli.failures import OK, USAGE, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import moment, print_json, print_table, say, shown, span, until, utc_ms
from relay.cli.who import who
from relay.config.units import parse_duration
from relay.store.values import Suspension, SuspensionKind

KindArgument = Annotated[
    SuspensionKind,
    Parameter(name="KIND", help="set, source, provider, credential or domain."),
]
NameArgument = Annotated[
    str, Parameter(name="NAME", help="Its name in the configuration, its address, or the domain.")
]


def suspend(
    kind: KindArgument,
    name: NameArgument,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; shown wherever the mail is found waiting.")],
    for_: Annotated[
        str, Parameter(name="--for", help="How long, as 2h; default: until it is resumed.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Have mail wait: of a configuration set or a credential, from a source address, to a provider
    or to a domain; what comes later too. It is accepted and stored, and nothing is attempted.

    Mail of a suspended source leaves from the other sources of its pool where there are some.
    What waits ages: it bounces at its max_age.
    """
    request = SuspendRequest(kind, name, reason, who(), _seconds(for_) if for_ else None)
    with open_desk(config) as desk:
        made = desk.call(SUSPEND, request)
    if as_json:
        print_json(made)
    else:
        say(f"{made.kind} {shown(made.name)} is suspended {_until(made, utc_ms())}")
    return OK


def resume(
    kind: KindArgument,
    name: NameArgument,
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Let mail go that was suspended. It goes when it is due, as if it had not waited.

    Exits 1 when nothing of that name is suspended.
    """
    with open_desk(config) as desk:
        answer = desk.call(RESUME, ResumeRequest(kind, name))
    if as_json:
        print_json(answer)
    else:
        say(f"{kind} {shown(name)} is resumed")
    return OK


def suspensions(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """List what is suspended, since when, until when, by whom and why."""
    with open_desk(config) as desk:
        found = desk.call(SUSPENSIONS, Nothing())
    if as_json:
        print_json(found)
    elif found:
        print_suspensions(found, utc_ms())
    else:
        say("nothing is suspended")
    return OK


def print_suspensions(found: list[Suspension] | tuple[Suspension, ...], now: int) -> None:
    """A table of what is in force."""
    print_table(
        ("suspended", "since", "until", "by", "reason"),
        [
            (
                f"{each.kind} {each.name}",
                f"{span((now - each.since) / 1000)} ago",
                _until(each, now).removeprefix("until "),
                each.by,
                each.reason,
            )
            for each in found
        ],
    )


def _until(suspension: Suspension, now: int) -> str:
    if suspension.until is None:
        return "until it is resumed"
    return f"until {moment(suspension.until)} ({until(suspension.until, now)})"


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandFailed(f"--for {text!r}: {error}", USAGE) from None

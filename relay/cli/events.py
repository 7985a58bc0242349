"""`relay events`: who is told what became of mail, and how that goes."""

from collections.abc import Callable
from typing import Annotated

from cyclopts import App, Parameter

from relay.admin.client import Client
from relay.admin.endpoints import (
    EVENTS,
    EVENTS_DEAD,
    EVENTS_FORGET,
    EVENTS_REPLAY,
    EVENTS_REPLAY_DEAD,
    EVENTS_TEST,
    Nothing,
)
from relay.admin.events import DestinationRequest, LettersNamed, LettersRequest, ReplayRequest
from relay.cli.failures import FAILED, OK, USAGE, CommandFailed
from relay.cli.options import ConfigOption, JsonOption, YesOption
from relay.cli.output import (
    moment,
    plural,
    print_facts,
    print_json,
    print_table,
    say,
    shown,
    span,
    until,
    utc_ms,
    warn,
)
from relay.cli.place import find_config
from relay.cli.prompts import confirm
from relay.cli.times import parse_time
from relay.events.states import DestinationState, Replayed, ShownLetter

app = App(
    name="events",
    help="Show, test and replay what event destinations are told.",
    help_format="plaintext",
)

NameArgument = Annotated[
    str, Parameter(name="NAME", help="The destination's name in the configuration.")
]
IdsArgument = Annotated[tuple[int, ...], Parameter(name="ID", help="Dead letters, as dead shows.")]

_TIMEOUT_S = 120.0  # a destination may take its time
_AT_ONCE = 100  # dead letters that one question may name


@app.default
@app.command(name="list")
def list_destinations(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """List the destinations: how each is doing, how many events wait for it and for how long, what
    went wrong last. Exits 1 when one is down."""
    found = _client(config).call(EVENTS, Nothing())
    if as_json:
        print_json(found)
    elif not found:
        say("no event destination is configured")
    else:
        _print_states(found, utc_ms())
    return FAILED if any(each.condition == "down" for each in found) else OK


@app.command(name="test")
def try_out(
    name: NameArgument, /, *, config: ConfigOption = None, as_json: JsonOption = False
) -> int:
    """Tell a destination of events that never happened, one of each type that it is told, and show
    what it answers. They are about the mailbox simulator and have the tag relay-test.

    Exits 1 when one was not taken.
    """
    results = _client(config).call(EVENTS_TEST, DestinationRequest(name))
    if as_json:
        print_json(results)
    else:
        print_table(
            ("event", "told", "answer", "event id"),
            [
                (each.type, "yes" if each.told else "no", each.answer, each.event_id)
                for each in results
            ],
        )
    return OK if all(each.told for each in results) else FAILED


@app.command
def dead(
    name: Annotated[str, Parameter(name="NAME", help="A destination; default: all.")] = "",
    /,
    *,
    after: Annotated[int, Parameter(help="Go on behind this id, the last of the page before.")] = 0,
    limit: Annotated[int, Parameter(help="At most so many, and 100.")] = 50,
    show: Annotated[int | None, Parameter(help="One of them, with the JSON that is told.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """List events that a destination would not take, oldest first, with the reason."""
    if show is not None:
        after, limit = show - 1, 1
    letters = _client(config).call(EVENTS_DEAD, LettersRequest(name, after, limit))
    if show is not None and [each.id for each in letters] != [show]:
        raise CommandFailed(f"there is no dead letter {show}" + (f" of {name}" if name else ""))
    if as_json:
        print_json(letters)
    elif show is not None:
        _print_letter(letters[0])
    elif letters:
        _print_letters(letters)
    else:
        say("no dead letters")
    return OK


@app.command
def replay(
    name: NameArgument,
    ids: IdsArgument = (),
    /,
    *,
    since: Annotated[
        str, Parameter(help="Not dead letters, but all events since then: a time (UTC) or 2h.")
    ] = "",
    to: Annotated[
        str, Parameter(name="--until", help="With --since: before then. Default: now.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Tell a destination its dead letters once more, all or those named; what it takes now is
    forgotten. With --since, tell it all events of a time again that it is told. Events keep their
    ids, so that consumers know those that they have.

    Exits 1 when something was not taken.
    """
    client, now = _client(config), utc_ms()
    if not since:
        if to:
            raise CommandFailed("--until is for --since", USAGE)
        whole = _replay_letters(client, name, ids)
    elif ids:
        raise CommandFailed("name dead letters, or a time with --since: not both", USAGE)
    else:
        begin = parse_time("--since", since, now)
        end = parse_time("--until", to, now) if to else now
        whole = _in_parts(
            lambda after: client.call(EVENTS_REPLAY, ReplayRequest(name, begin, end, after))
        )
    if as_json:
        print_json(whole)
    else:
        say(f"told: {plural(whole.told, 'event')}, refused: {whole.refused:,}")
        if whole.error:
            warn(f"relay: {shown(name)} takes nothing now: {shown(whole.error)}")
    are_there = bool(whole.error) or _are_there(name, ids, whole.told + whole.refused)
    return FAILED if whole.refused or whole.error or not are_there else OK


@app.command
def forget(
    name: NameArgument,
    ids: IdsArgument = (),
    /,
    *,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Forget dead letters of a destination: those named, or all."""
    if not ids and not yes and not confirm(f"forget all dead letters of {shown(name)}?"):
        raise CommandFailed("nothing was forgotten; --yes does it without asking", USAGE)
    client = _client(config)
    count = 0
    for some in _some_at_a_time(ids):
        count += client.call(EVENTS_FORGET, LettersNamed(name, some)).count
    while not ids and (more := client.call(EVENTS_FORGET, LettersNamed(name)).count):
        count += more
    if as_json:
        print_json({"count": count})
    else:
        say(f"forgotten: {plural(count, 'dead letter')}")
    return OK if _are_there(name, ids, count) else FAILED


def _client(config: ConfigOption) -> Client:
    return Client(find_config(config).data_dir(), timeout=_TIMEOUT_S)


def _some_at_a_time(ids: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]


def _replay_letters(client: Client, name: str, ids: tuple[int, ...]) -> Replayed:
    """Those named, or all."""
    told = refused = 0
    for some in _some_at_a_time(ids) or [()]:

        def ask(after: int, some: tuple[int, ...] = some) -> Replayed:
            return client.call(EVENTS_REPLAY_DEAD, LettersNamed(name, some, after))

        part = _in_parts(ask)
        told, refused = told + part.told, refused + part.refused
        if part.error:
            return Replayed(told, refused, 0, part.error)
    return Replayed(told, refused)


def _are_there(name: str, ids: tuple[int, ...], found: int) -> bool:
    """Whether all that were named are dead letters of the destination; it is said where not."""
    missing = len(set(ids)) - found
    if missing > 0:
        warn(f"relay: {shown(name)} has no such dead letters: {missing} of those named")
    return missing <= 0


def _in_parts(ask: Callable[[int], Replayed]) -> Replayed:
    """All parts together."""
    told = refused = after = 0
    while True:
        part = ask(after)
        told, refused, after = told + part.told, refused + part.refused, part.after
        if not after or part.error:
            return Replayed(told, refused, after, part.error)


def _print_states(found: list[DestinationState], now: int) -> None:
    print_table(
        ("destination", "type", "where", "state", "waiting", "oldest", "told", "dead", "lost"),
        [
            (
                each.name,
                each.type,
                each.where,
                each.condition,
                each.backlog,
                span((now - each.oldest_at) / 1000) if each.oldest_at else "",
                each.told,
                each.dead_letters,
                each.dropped,
            )
            for each in found
        ],
    )
    for each in found:
        if each.condition == "down":
            since = span((now - each.failing_since) / 1000)
            say(
                f"{each.name} is down for {since}: {shown(each.last_error)};"
                f" next try {until(each.next_try_at, now)}"
            )
        elif each.last_error:
            say(f"{each.name} at {moment(each.last_error_at)}: {shown(each.last_error)}")
        if each.condition == "elsewhere":
            say(f"{each.name} is told by {each.told_by or 'no node now'}: ask there how it fares")
        if not each.configuration_sets:
            say(f"{each.name} is told nothing: no configuration set lists it")


def _print_letters(letters: list[ShownLetter]) -> None:
    print_table(
        ("id", "destination", "event", "happened", "message", "tries", "error"),
        [
            (
                each.id,
                each.destination,
                each.type,
                moment(each.happened_at),
                each.message_id,
                each.attempts,
                each.error,
            )
            for each in letters
        ],
    )


def _print_letter(letter: ShownLetter) -> None:
    print_facts(
        [
            ("dead letter", str(letter.id)),
            ("destination", letter.destination),
            ("event", f"{letter.type} {letter.event_id}"),
            ("message", letter.message_id),
            ("recipients", ", ".join(letter.recipients)),
            ("happened", moment(letter.happened_at)),
            ("tries", str(letter.attempts)),
            ("given up", moment(letter.at)),
            ("error", letter.error),
        ]
    )
    say()
    say(shown(letter.content))

"""`relay queue`: what waits, why, and what to do with it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeVar

from cyclopts import App, Parameter

from relay.admin.control import (
    BounceRequest,
    Changed,
    MessageRequest,
    MoveRequest,
    QueueDetail,
)
from relay.admin.endpoints import (
    QUEUE_BOUNCE,
    QUEUE_HOLD,
    QUEUE_LIST,
    QUEUE_MOVE,
    QUEUE_RELEASE,
    QUEUE_RETRY,
    QUEUE_SHOW,
    Endpoint,
)
from relay.cli.attempts import print_attempts
from relay.cli.desk import Desk, open_desk
from relay.cli.failures import FAILED, OK, USAGE, CommandFailed
from relay.cli.options import ConfigOption, JsonOption, YesOption
from relay.cli.output import (
    moment,
    octets,
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
from relay.cli.prompts import confirm
from relay.cli.summary import summary
from relay.store.values import QueueEntry, QueueFilter, State

Q = TypeVar("Q")

app = App(
    name="queue",
    help="List the queue, and retry, hold, release or bounce what is in it.",
    help_format="plaintext",
)

app.command(summary)

MessageIds = Annotated[tuple[str, ...], Parameter(name="ID", help="Message ids.")]
StateOption = Annotated[
    State | None, Parameter(name="--state", help="Only deliveries in this state.")
]
AllOption = Annotated[
    bool, Parameter(name="--all", negative="", help="The whole queue, where nothing else is said.")
]
LimitOption = Annotated[int, Parameter(name="--limit", help="At most so many deliveries.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Options that narrow what is meant; each one that is given must hold."""

    domain: Annotated[str, Parameter(help="Only mail for this domain.")] = ""
    configuration_set: Annotated[str, Parameter(help="Only mail of this configuration set.")] = ""
    credential: Annotated[str, Parameter(help="Only mail that came in with this login.")] = ""
    sender: Annotated[str, Parameter(help="Only mail with this envelope sender.")] = ""
    recipient: Annotated[str, Parameter(help="Only mail to this address.")] = ""
    through: Annotated[str, Parameter(help="Only mail that goes through this pool.")] = ""

    @property
    def says_something(self) -> bool:
        return any(
            (
                self.domain,
                self.configuration_set,
                self.credential,
                self.sender,
                self.recipient,
                self.through,
            )
        )

    def filter(self, message_id: str, state: str, limit: int) -> QueueFilter:
        """As the relay is asked."""
        return QueueFilter(
            message_id=message_id,
            domain=self.domain.lower(),
            configuration_set=self.configuration_set,
            state=state,  # type: ignore[arg-type]  # one of the words that options allow
            limit=limit,
            credential=self.credential,
            sender=self.sender,
            recipient=self.recipient,
            pool=self.through,
        )


EVERY = Which()

_ALL = 10_000_000


@app.command(name="list")
def list_queue(
    *,
    which: Which = EVERY,
    state: StateOption = None,
    limit: LimitOption = 1_000,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """List deliveries: one for each message and recipient domain, longest due first."""
    with open_desk(config) as desk:
        entries = desk.call(QUEUE_LIST, which.filter("", state or "", limit))
    if as_json:
        print_json(entries)
        return OK
    _print_entries(entries)
    if len(entries) >= limit:
        warn(f"only the first {limit} are shown; --limit shows more")
    return OK


@app.command
def show(
    message_id: Annotated[str, Parameter(name="ID", help="The message id.")],
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show one message: envelope, header, each delivery, and each attempt with what was said.

    Also of messages that have left the queue, for as long as their dialogues are kept.
    """
    with open_desk(config) as desk:
        detail = desk.call(QUEUE_SHOW, MessageRequest(message_id))
    if as_json:
        print_json(detail)
    else:
        _print_detail(detail)
    return OK


@app.command
def retry(
    ids: MessageIds = (),
    /,
    *,
    which: Which = EVERY,
    state: StateOption = None,
    all_: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Try deliveries again now, whenever they were due."""
    chosen = _chosen(ids, which, state, all_)
    return _change(QUEUE_RETRY, _itself, chosen, "due now", config, as_json)


@app.command
def hold(
    ids: MessageIds = (),
    /,
    *,
    which: Which = EVERY,
    all_: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Keep deliveries in the queue, without attempts, until they are released."""
    chosen = _chosen(ids, which, None, all_)
    return _change(QUEUE_HOLD, _itself, chosen, "held", config, as_json)


@app.command
def release(
    ids: MessageIds = (),
    /,
    *,
    which: Which = EVERY,
    state: Annotated[
        Literal["held", "quarantined"],
        Parameter(name="--state", help="quarantined: those that were set apart as damaged."),
    ] = "held",
    all_: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Let deliveries that were held go."""
    chosen = _chosen(ids, which, state, all_)
    return _change(QUEUE_RELEASE, _itself, chosen, "released", config, as_json)


@app.command
def bounce(
    ids: MessageIds = (),
    /,
    *,
    which: Which = EVERY,
    state: StateOption = None,
    all_: AllOption = False,
    reason: Annotated[str, Parameter(help="Why; the report to the sender says it.")] = "",
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Give deliveries up and report each to its sender. This cannot be undone."""
    chosen = _chosen(ids, which, state, all_)
    if not yes and not confirm("Give up these deliveries and report them to their senders?"):
        raise CommandFailed("nothing was done: answer yes, or give --yes", USAGE)
    return _change(
        QUEUE_BOUNCE,
        lambda which: BounceRequest(which, reason),
        chosen,
        "bounced",
        config,
        as_json,
    )


@app.command
def move(
    ids: MessageIds = (),
    /,
    *,
    pool: Annotated[
        str,
        Parameter(
            help="The pool to send through; - is that of each set.", allow_leading_hyphen=True
        ),
    ],
    which: Which = EVERY,
    state: StateOption = None,
    all_: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Have deliveries go through another pool from their next attempt on.

    They stay with it, also after a restart; where it leaves the configuration they go through the
    pool of their set again. Refused for sets with `movable: false`.
    """
    chosen = _chosen(ids, which, state, all_)
    target = "" if pool == "-" else pool
    word = f"moved to pool {pool}" if target else "moved back to the pool of their set"
    return _change(
        QUEUE_MOVE, lambda which: MoveRequest(which, target), chosen, word, config, as_json
    )


def _chosen(
    ids: tuple[str, ...], which: Which, state: State | None, everything: bool
) -> list[QueueFilter]:
    """One filter for each message id, or one for the rest of what was said."""
    if not (ids or which.says_something or everything):
        raise CommandFailed(
            "say which deliveries: message ids, --domain, --configuration-set, --credential,"
            " --sender, --recipient, --through, or --all",
            USAGE,
        )
    return [which.filter(message_id, state or "", _ALL) for message_id in ids or ("",)]


def _change(
    endpoint: Endpoint[Q, Changed],
    asking: Callable[[QueueFilter], Q],
    chosen: list[QueueFilter],
    word: str,
    config: ConfigOption,
    as_json: bool,
) -> int:
    """Exits 1 where one of the messages that were named is not in the queue."""
    with open_desk(config) as desk:
        counts = [
            (which.message_id, _in_parts(desk, endpoint, asking, which, word)) for which in chosen
        ]
        absent = [
            message_id
            for message_id, count in counts
            if message_id and not count and not desk.call(QUEUE_LIST, _of_message(message_id))
        ]
    count = sum(count for _, count in counts)
    if as_json:
        print_json({"count": count})
    else:
        say(f"{plural(count, 'delivery')} {word}")
    for message_id in absent:
        warn(f"relay: no message {shown(message_id)} is in the queue")
    return FAILED if absent else OK


def _in_parts(
    desk: Desk,
    endpoint: Endpoint[Q, Changed],
    asking: Callable[[QueueFilter], Q],
    which: QueueFilter,
    word: str,
) -> int:
    """How many were changed. Who waits at a terminal for long is told how far it has come."""
    count = 0
    while True:
        answer = desk.call(endpoint, asking(which))
        count += answer.count
        if not answer.after:
            return count
        which = replace(which, after=answer.after, upto=answer.upto)
        if sys.stderr.isatty():
            warn(f"{plural(count, 'delivery')} {word} so far")


def _itself(which: QueueFilter) -> QueueFilter:
    return which


def _of_message(message_id: str) -> QueueFilter:
    return QueueFilter(message_id=message_id, limit=1)


_COLUMNS = (
    *("message", "set", "state", "age", "due", "tries", "size", "from", "to"),
    *("waits for", "last reply"),
)


def _print_entries(entries: list[QueueEntry]) -> None:
    if not entries:
        say("nothing is queued")
        return
    now = utc_ms()
    print_table(
        (
            "message",
            "set",
            "state",
            "age",
            "due",
            "tries",
            "size",
            "from",
            "to",
            "waits for",
            "last reply",
        ),
        [
            (
                entry.message_id,
                entry.configuration_set,
                "trying" if entry.claimed and entry.due_at <= now else entry.state,
                span((now - entry.accepted_at) / 1000),
                "" if entry.state == "held" else until(entry.due_at, now),
                entry.attempts,
                octets(entry.size),
                entry.reverse_path or "<>",
                _recipients(entry.recipients),
                entry.why.removeprefix("it waited "),
                entry.last_reply,
            )
            for entry in entries
        ],
    )


def _recipients(recipients: tuple[str, ...]) -> str:
    if len(recipients) <= 2:
        return ", ".join(recipients)
    return f"{recipients[0]} and {len(recipients) - 1} more"


_MAY_COME_TWICE = "it may come twice: a worker died while it was sending it"


def _print_detail(detail: QueueDetail) -> None:
    now = utc_ms()
    is_queued = detail.whereabouts == "queued"
    expires = f"{moment(detail.expires_at)} ({until(detail.expires_at, now)})"
    print_facts(
        [
            ("message", detail.message_id),
            ("state", "in the queue" if is_queued else _end_of(detail)),
            ("accepted", moment(detail.accepted_at)),
            ("expires", expires if is_queued else ""),
            ("credential", detail.credential),
            ("configuration set", detail.configuration_set),
            ("identity", detail.identity),
            ("from", (detail.reverse_path or "<>") if is_queued else ""),
            ("recipients", detail.recipients),
            ("size", octets(detail.size) if is_queued else ""),
            ("tags", tuple(f"{name}={value}" for name, value in detail.tags)),
            ("note", _MAY_COME_TWICE if any(d.doubtful for d in detail.deliveries) else ""),
        ]
    )
    if is_queued:
        say()
        _print_entries(list(detail.deliveries))
    print_attempts(detail.attempts)
    if detail.header:
        say()
        for line in detail.header.splitlines():
            say(shown(line))


def _end_of(detail: QueueDetail) -> str:
    if detail.whereabouts == "gone":
        return "not in the queue any more; how it ended was not kept (delivery.dialogues)"
    return f"{detail.whereabouts} at {moment(detail.ended_at)}"

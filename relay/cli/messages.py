"""`relay messages`: what became of mail, from the message log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, Parameter

from relay.admin.endpoints import MESSAGE_TIMELINE, MESSAGES
from relay.admin.messages import MOST_TOLD, MessageTimeline, TimelineRequest, ToldEvent
from relay.cli.attempts import print_attempts
from relay.cli.desk import open_desk
from relay.cli.failures import OK
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import (
    moment,
    octets,
    print_facts,
    print_json,
    print_table,
    say,
    shown,
    utc_ms,
    warn,
)
from relay.cli.times import parse_time
from relay.store.log_values import FoundMessage, MessageQuery, RecipientStatus
from relay.store.values import Attempt

app = App(
    name="messages",
    help="Search the message log, and show what became of a message.",
    help_format="plaintext",
)

_SUBJECT_SHOWN = 60  # characters, in a table
_WORST: tuple[RecipientStatus, ...] = (
    "complained", "rejected", "bounced", "suppressed", "delayed", "queued", "delivered",
)  # fmt: skip


@Parameter(name="*")
@dataclass(frozen=True)
class Wanted:
    """Options that narrow what is looked for; each one that is given must hold."""

    recipient: Annotated[str, Parameter(help="To this address, or to @domain.")] = ""
    sender: Annotated[str, Parameter(help="From this envelope sender, or @domain.")] = ""
    subject: Annotated[str, Parameter(help="With this in its subject, in any case.")] = ""
    tag: Annotated[str, Parameter(help="With this message tag: NAME or NAME=VALUE.")] = ""
    configuration_set: Annotated[str, Parameter(help="Of this configuration set.")] = ""
    credential: Annotated[str, Parameter(help="That came in with this login.")] = ""
    status: Annotated[
        RecipientStatus | None, Parameter(help="With a recipient of which this is so.")
    ] = None
    since: Annotated[
        str,
        Parameter(help="Accepted then or later: 2026-11-24, 2026-11-24T19:42, or 2h ago as 2h."),
    ] = ""
    until: Annotated[str, Parameter(help="Accepted before then, likewise.")] = ""

    def query(self, limit: int, before: str, now: int) -> MessageQuery:
        """As the relay is asked. Raises `CommandFailed`."""
        name, _, value = self.tag.partition("=")
        return MessageQuery(
            recipient=self.recipient,
            sender=self.sender,
            subject=self.subject,
            tag=(name, value) if name else None,
            configuration_set=self.configuration_set,
            credential=self.credential,
            status=self.status or "",
            since=parse_time("--since", self.since, now) if self.since else 0,
            until=parse_time("--until", self.until, now) if self.until else None,
            limit=limit,
            before=before,
        )


ANY = Wanted()


@app.default
@app.command(name="list")
def list_messages(
    *,
    wanted: Wanted = ANY,
    limit: Annotated[int, Parameter(help="At most so many.")] = 50,
    before: Annotated[
        str, Parameter(help="Go on behind this message id, the last of the page before.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """List messages, the newest first, with what became of their recipients."""
    with open_desk(config) as desk:
        result = desk.call(MESSAGES, wanted.query(limit, before, utc_ms()))
    if as_json:
        print_json(result)
        return OK
    if result.messages:
        _print_messages(result.messages)
    else:
        say("no message is found")
    if result.looked_back_to:
        # A second later, for the seconds are cut: one may be shown twice, and none is left out.
        until = moment(result.looked_back_to + 1_000).replace(" ", "T")
        warn(
            f"looked back to {moment(result.looked_back_to)}, for longer would take too long:"
            f" go on with --until {until}"
        )
    elif len(result.messages) >= limit:
        warn(f"there may be more: --before {result.messages[-1].message.id}")
    return OK


@app.command
def show(
    message_id: Annotated[str, Parameter(name="ID", help="The message id.")],
    /,
    *,
    dialogues: Annotated[bool, Parameter(help="With what was said in each attempt.")] = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show a message and all that happened to it, in order: attempts with what was said, and
    events."""
    with open_desk(config) as desk:
        found = desk.call(MESSAGE_TIMELINE, TimelineRequest(message_id))
    if as_json:
        print_json(found)
    else:
        _print_timeline(found, dialogues=dialogues)
    if found.is_cut:
        warn(f"only the first {MOST_TOLD:,} events and the last {MOST_TOLD:,} attempts are shown")
    return OK


def _print_messages(found: Sequence[FoundMessage]) -> None:
    print_table(
        ("message", "accepted", "from", "to", "subject", "set", "status"),
        [
            (
                one.message.id,
                moment(one.message.accepted_at),
                one.message.reverse_path or "<>",
                _few(one.message.recipients),
                _cut(one.message.subject),
                one.message.configuration_set,
                _in_short(one),
            )
            for one in found
        ],
    )


def _cut(subject: str) -> str:
    """What fits beside the rest; `relay messages show` has it all."""
    is_long = len(subject) > _SUBJECT_SHOWN
    return f"{subject[: _SUBJECT_SHOWN - 1]}…" if is_long else subject


def _few(recipients: Sequence[str]) -> str:
    more = f" and {len(recipients) - 1} more" if len(recipients) > 1 else ""
    return f"{recipients[0]}{more}" if recipients else ""


def _in_short(found: FoundMessage) -> str:
    """The statuses with their numbers, the worst first; no number where all are alike."""
    statuses = [status for _, status in found.statuses]
    counts = [(status, statuses.count(status)) for status in _WORST if status in statuses]
    if len(counts) == 1:
        return counts[0][0]
    return ", ".join(f"{count} {status}" for status, count in counts)


def _print_timeline(found: MessageTimeline, *, dialogues: bool) -> None:
    message = found.message
    print_facts(
        [
            ("message", message.id),
            ("accepted", moment(message.accepted_at)),
            ("expires", moment(message.expires_at)),
            ("from", message.reverse_path or "<>"),
            ("subject", message.subject),
            ("credential", message.credential),
            ("client", f"{message.client}{f', {message.tls}' if message.tls else ''}"),
            ("configuration set", message.configuration_set),
            ("identity", message.identity),
            ("size", octets(message.size)),
            ("tags", tuple(f"{name}={value}" for name, value in message.tags)),
            ("counts", "nowhere: it is for the mailbox simulator" if message.is_simulated else ""),
        ]
    )
    say()
    print_table(("recipient", "status"), found.statuses)
    happened: list[tuple[int, int, ToldEvent | Attempt]] = [
        *((event.at, 1, event) for event in found.events),
        *((attempt.at, 0, attempt) for attempt in found.attempts),
    ]
    for _, _, what in sorted(happened, key=lambda one: one[:2]):
        if isinstance(what, ToldEvent):
            say()
            say(shown(f"{moment(what.at)}  {what.type}: {_few(what.recipients)}"))
            say(shown(f"  {what.summary}"))
        else:
            print_attempts([what], dialogues=dialogues)

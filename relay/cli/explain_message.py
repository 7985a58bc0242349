"""`relay explain MESSAGE-ID`, for people: why a message has not gone out."""

from relay.admin.control import QueueDetail
from relay.admin.explained import DeliveryExplanation, MessageExplanation, Verdict
from relay.cli.attempts import print_attempts
from relay.cli.explain_way import print_way
from relay.cli.output import (
    moment,
    plural,
    print_facts,
    print_table,
    say,
    shown,
    span,
    until,
    warn,
)

_LAST_ATTEMPTS = 3


def print_message(found: MessageExplanation, now: int) -> None:
    """The message, then each delivery: what holds it, what comes next, and the decisions."""
    message = found.message
    print_facts(
        [
            ("message", message.message_id),
            ("state", _state(message)),
            ("accepted", f"{moment(message.accepted_at)}, {_ago(message.accepted_at, now)}"),
            ("expires", _expiry(message, now)),
            ("from", message.reverse_path or ("<>" if message.whereabouts == "queued" else "")),
            ("credential", message.credential),
            ("configuration set", message.configuration_set),
        ]
    )
    for delivery in found.deliveries:
        _print_delivery(delivery, now)
    left = len(message.deliveries) - len(found.deliveries)
    if left > 0:
        say()
        say(f"{plural(left, 'delivery')} more; `relay queue show` lists all")
    if message.attempts:
        print_attempts(message.attempts[-_LAST_ATTEMPTS:], dialogues=False)
        say()
        say("`relay queue show` has what was said")
    for name in found.silent:
        warn(f"relay: {name} does not answer: what it has in memory is not known")


def _print_delivery(found: DeliveryExplanation, now: int) -> None:
    entry = found.entry
    say()
    print_facts(
        [
            ("delivery", f"to {entry.domain}: {', '.join(entry.recipients[:5])}"),
            ("waits because", found.verdict.why),
            ("next", _next(found.verdict, now)),
            ("attempts", entry.attempts),
            ("last reply", entry.last_reply),
            ("return-path", found.return_path),
            ("pool", f"{found.pool} (moved to it)" if entry.pool else found.pool),
            ("route", found.route),
            ("site", found.site),
            ("provider", found.provider),
            ("problem", found.problem),
        ]
    )
    if found.sources:
        say()
        print_table(
            ("source", "weight", "state", "at most"),
            [(s.address, s.weight, s.excluded or "eligible", s.shape) for s in found.sources],
        )
    print_way(found, now)


def _state(message: QueueDetail) -> str:
    if message.whereabouts == "queued":
        return f"in the queue, {plural(len(message.deliveries), 'delivery')} left"
    if message.whereabouts == "gone":
        return "not in the queue any more; how it ended was not kept"
    return f"{message.whereabouts} at {moment(message.ended_at)}"


def _expiry(message: QueueDetail, now: int) -> str:
    if not message.expires_at:
        return ""
    return f"{moment(message.expires_at)} ({until(message.expires_at, now)})"


def _ago(at: int, now: int) -> str:
    return f"{span((now - at) / 1000)} ago"


def _next(verdict: Verdict, now: int) -> str:
    if not verdict.at:
        return shown(verdict.next)
    return f"{verdict.next}, {until(verdict.at, now)} ({moment(verdict.at)})"

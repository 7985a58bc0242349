"""Two looks at a relay as what people read: rates, and what stands out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.admin.top import Flow, FlowBy, Look
from relay.cli.output import moment, span, until

Section = tuple[str, Sequence[str], Sequence[Sequence[object]]]
"""A title that is the name of the first column, all columns, and rows."""
Sections = Sequence[Section]

_BY: tuple[tuple[FlowBy, str], ...] = (
    ("set", "configuration set"),
    ("pool", "pool"),
    ("source", "source"),
)


@dataclass(frozen=True, slots=True)
class Pace:
    """Recipients per second between two looks."""

    by: FlowBy
    name: str
    accepted: float
    delivered: float
    deferred: float
    bounced: float

    @property
    def any(self) -> float:
        return self.accepted + self.delivered + self.deferred + self.bounced


@dataclass(frozen=True, slots=True)
class Compared:
    """The later of two looks, and what went per second since the earlier one."""

    seconds: float
    paces: tuple[Pace, ...]
    look: Look


def compared(before: Look, after: Look) -> Compared:
    """What has gone on between two looks. A relay that was restarted meanwhile counts from 0."""
    seconds = max(0.001, (after.at - before.at) / 1000)
    known = {(flow.by, flow.name): flow for flow in before.flows}
    paces = [_pace(known.get((flow.by, flow.name)), flow, seconds) for flow in after.flows]
    return Compared(seconds, tuple(paces), after)


def _pace(before: Flow | None, after: Flow, seconds: float) -> Pace:
    if before is None or before.accepted > after.accepted or before.delivered > after.delivered:
        before = Flow(after.by, after.name)
    return Pace(
        after.by,
        after.name,
        max(0.0, round((after.accepted - before.accepted) / seconds, 2)),
        max(0.0, round((after.delivered - before.delivered) / seconds, 2)),
        max(0.0, round((after.deferred - before.deferred) / seconds, 2)),
        max(0.0, round((after.bounced - before.bounced) / seconds, 2)),
    )


def headline(before: Look, after: Look) -> str:
    """The relay in one line."""
    paces = compared(before, after).paces
    whole = next((pace for pace in paces if pace.by == "all"), Pace("all", "", 0, 0, 0, 0))
    queued = sum(each.queued for each in after.queue)
    held = sum(each.held for each in after.queue)
    suspended = sum(each.suspended for each in after.queue)
    return (
        f"{moment(after.at)}  accepted {whole.accepted:.1f}/s  delivered {whole.delivered:.1f}/s  "
        f"deferred {whole.deferred:.1f}/s  bounced {whole.bounced:.1f}/s  "
        f"queued {queued:,}  held {held:,}  suspended {suspended:,}  "
        f"in memory {after.working_set:,}  connections {after.outbound_connections:,}"
    )


def sections(before: Look, after: Look, rows: int) -> list[Section]:
    """Every section that has something to say, of at most `rows` rows each."""
    found = compared(before, after)
    made = [
        _queue(after),
        *(_flows(found, by, title) for by, title in _BY),
        _providers(found),
        _lines(after),
        _limits(after),
        _restraints(after),
        _suspensions(after),
    ]
    return [(title, columns, lines[:rows]) for title, columns, lines in made if lines]


def _queue(look: Look) -> Section:
    fullest = sorted(look.queue, key=lambda each: -(each.queued + each.held + each.suspended))
    return (
        "queue",
        ("set", "queued", "held", "suspended", "oldest"),
        [
            (
                each.configuration_set,
                f"{each.queued:,}",
                f"{each.held:,}",
                f"{each.suspended:,}",
                span((look.at - each.oldest_accepted_at) / 1000) if each.oldest_accepted_at else "",
            )
            for each in fullest
            if each.queued or each.held or each.suspended
        ],
    )


def _flows(found: Compared, by: FlowBy, title: str) -> Section:
    return (
        title,
        (by, "accepted/s", "delivered/s", "deferred/s", "bounced/s"),
        [
            (
                pace.name,
                f"{pace.accepted:.1f}" if by == "set" else "",
                f"{pace.delivered:.1f}",
                f"{pace.deferred:.1f}",
                f"{pace.bounced:.1f}",
            )
            for pace in _busiest(found, by)
        ],
    )


def _providers(found: Compared) -> Section:
    """Attempts, not recipients: see `Flow`."""
    return (
        "provider",
        ("provider", "attempts delivered/s", "others/s"),
        [
            (pace.name, f"{pace.delivered:.1f}", f"{pace.deferred:.1f}")
            for pace in _busiest(found, "provider")
        ],
    )


def _busiest(found: Compared, by: FlowBy) -> list[Pace]:
    moving = (pace for pace in found.paces if pace.by == by and pace.any)
    return sorted(moving, key=lambda pace: -pace.any)


def _lines(look: Look) -> Section:
    return (
        "waiting for",
        ("line", "from", "waiting", "connections", "because"),
        [
            (
                line.line,
                line.source,
                f"{line.waiting:,}",
                f"{line.connections:,}",
                "the way is down" if line.is_down else line.held_by,
            )
            for line in look.lines
            if line.waiting
        ],
    )


def _limits(look: Look) -> Section:
    return (
        "limit",
        ("limit", "kind", "allows", "used", "next"),
        [
            (each.key, each.kind, each.limit, f"{each.used:,}", until(each.free_at, look.at))
            for each in look.limits
        ],
    )


def _restraints(look: Look) -> Section:
    return (
        "held back",
        ("line", "from", "action", "level", "rule", "ends"),
        [
            (
                each.line,
                each.source,
                each.action,
                f"{each.level:g} of {each.base:g}" if each.base else "",
                each.rule,
                until(each.until, look.at) if each.until else "by recovering",
            )
            for each in look.restraints
        ],
    )


def _suspensions(look: Look) -> Section:
    return (
        "suspended",
        ("what", "ends", "reason"),
        [
            (
                f"{each.kind} {each.name}",
                "when resumed" if each.until is None else until(each.until, look.at),
                each.reason,
            )
            for each in look.suspensions
        ],
    )

"""Why a queued message has not gone out: where each of its deliveries is, what holds it, and what
happens next and when. `verdict` decides what is said; it is pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.admin.control import ExplainedHost, ExplainedSource, LimitStatus, QueueDetail
from relay.delivery.whereabouts import Found
from relay.feedback.restraints import Restraint
from relay.routing.suspensions import described
from relay.store.values import QueueEntry, Suspension

MOST_EXPLAINED = 20
"""Deliveries of one message that are explained; each asks DNS."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` it has not gone out, and what comes `next`, as clauses; `at` is when, in UTC ms, 0
    where nobody can say."""

    why: str
    next: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryExplanation:
    """One delivery of a queued message. `worker` has it in memory, where it says so in `found`.
    `return_path` is what goes out in MAIL FROM, `<>` where that is null."""

    entry: QueueEntry
    verdict: Verdict
    worker: str = ""
    found: Found | None = None
    suspensions: tuple[Suspension, ...] = ()
    return_path: str = ""
    pool: str = ""
    sources: tuple[ExplainedSource, ...] = ()
    route: str = ""
    site: str = ""
    provider: str = ""
    hosts: tuple[ExplainedHost, ...] = ()
    problem: str = ""
    reactions: tuple[Restraint, ...] = ()
    limits: tuple[LimitStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageExplanation:
    """A message and its deliveries. `silent` are workers that did not answer: what they hold is not
    known. One that has left the queue has no deliveries; `message` says what became of it."""

    message: QueueDetail
    deliveries: tuple[DeliveryExplanation, ...] = ()
    silent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AllRest:
    """No source of the pool may send to `line` before `until` (UTC ms); `why` as a clause."""

    source: str  # whose rest ends first
    line: str
    why: str
    until: int


def verdict(
    entry: QueueEntry,
    found: Found | None,
    worker: str,
    suspensions: tuple[Suspension, ...],
    problem: str,
    limits: tuple[LimitStatus, ...],
    now: int,
    rest: AllRest | None = None,
    elsewhere: str = "",
    is_shared: bool = False,
) -> Verdict:
    """What holds a delivery that is in the queue at `now`, in UTC ms. `elsewhere` says which other
    nodes are to carry it, as a clause; `is_shared`: there may be others."""
    if entry.state in ("quarantined", "held"):
        return _set_apart(entry)
    if found is not None and found.doing == "attempted":
        return Verdict(
            f"it is being attempted by {worker}, from {found.source} to {found.why}, for"
            f" {found.seconds:.3g} s now",
            "its outcome, when the host has answered or a time-out ends it",
        )
    if suspensions or entry.state == "suspended":
        return _suspended(entry, suspensions)
    if found is not None:
        return _in_memory(found, worker, now)
    if entry.claimed:
        return _claimed(is_shared)
    return _in_the_store(entry, problem, limits, now, rest, elsewhere)


def _set_apart(entry: QueueEntry) -> Verdict:
    if entry.state == "held":
        return Verdict("an operator holds it", "nothing, until `relay queue release`")
    return Verdict(
        "it is damaged and was set apart",
        "nothing, until `relay queue release --state quarantined`",
    )


def all_rest(
    pool: str, usable: Sequence[str], reactions: Sequence[Restraint], now: int
) -> AllRest | None:
    """Whether each of the `usable` addresses of a pool rests; None where one may send."""
    rests = {one.source: one for one in reactions if one.until > now}
    if not usable or not all(address in rests for address in usable):
        return None
    told = [rests[address] for address in usable]
    rules = ", ".join(f"{one.source}: {one.rule}" for one in told)
    why = f"every source of pool {pool} rests for {told[0].line} ({rules})"
    first = min(told, key=lambda one: one.until)
    return AllRest(first.source, first.line, why, first.until)


def _is_held_by(rest: AllRest, entry: QueueEntry) -> bool:
    """Also where its own time is earlier: then it is put off when that has come."""
    return entry.due_at < rest.until or entry.waits_for == f"rest:{rest.line}"


def _resting(entry: QueueEntry, rest: AllRest) -> Verdict:
    if entry.expires_at and rest.until >= entry.expires_at:
        return Verdict(rest.why, "it bounces: its max_age is over before that", entry.expires_at)
    return Verdict(
        rest.why,
        f"an attempt (`relay reactions clear {rest.source} {rest.line}` lifts the rest)",
        max(rest.until, entry.due_at),
    )


def _claimed(is_shared: bool) -> Verdict:
    whose = "a worker of another node, or one here that did not say more, has it"
    why = whose if is_shared else "a worker has it that did not say more"
    return Verdict(why, "an outcome, or another worker takes over")


def _still(why: str) -> str:
    """A clause on what it waited for, of mail that waits for that now."""
    return why.replace("it waited ", "it waits ", 1)


def _in_the_store(
    entry: QueueEntry,
    problem: str,
    limits: tuple[LimitStatus, ...],
    now: int,
    rest: AllRest | None,
    elsewhere: str,
) -> Verdict:
    if elsewhere and (entry.due_at <= now or entry.waits_for.startswith("pool:")):
        return Verdict(_still(elsewhere), "one of them claims it, in its turn")
    if rest is not None and _is_held_by(rest, entry):
        return _resting(entry, rest)
    if entry.due_at > now:
        return _not_due(entry, limits, now)
    if problem:
        return Verdict(problem, "it is looked at again within a minute")
    if entry.why:
        free = max((limit.free_at for limit in limits if limit.free_at > now), default=0)
        return Verdict(_still(entry.why), "an attempt, when that is over", free)
    return Verdict(
        "it is due, and waits in the store for its turn among the mail that is due",
        "a worker claims it as soon as it has room for its configuration set and domain",
    )


def _suspended(entry: QueueEntry, suspensions: tuple[Suspension, ...]) -> Verdict:
    if not suspensions:
        return Verdict("what it was suspended for has ended", "it is queued again in a moment")
    first = suspensions[0]
    why = f"{first.kind} {first.name} is {described(first)}"
    if len(suspensions) > 1:
        others = ", ".join(f"{each.kind} {each.name}" for each in suspensions[1:])
        why = f"{why}; also suspended: {others}"
    if entry.expires_at and first.until is not None and first.until >= entry.expires_at:
        return Verdict(why, "it bounces: its max_age is over before that", entry.expires_at)
    return Verdict(why, "it goes when that has ended", first.until or 0)


def _in_memory(found: Found, worker: str, now: int) -> Verdict:
    place = f"number {found.position} of its lane from {found.source} to {found.line}, in {worker}"
    at = now + round(found.seconds * 1000) if found.seconds else 0
    match found.doing:
        case "limited":
            return Verdict(f"limit {found.held_by} holds up its lane; {place}", "it asks again", at)
        case "no connection":
            return Verdict(f"no connection could be had lately ({found.why}); {place}", "a try", at)
        case "asking DNS":
            return Verdict(f"{worker} is asking DNS where its domain's mail goes", "an attempt")
        case "not due":
            return Verdict(f"it is not due yet; {worker} has it", "an attempt", at)
        case "stored":
            return Verdict(
                f"{worker} is storing what became of it", "it leaves the queue, or waits"
            )
    open_now = f"over {found.connections} connections" if found.connections else "for a connection"
    return Verdict(f"it is in line {open_now}; {place}", "an attempt, when its turn comes")


def _not_due(entry: QueueEntry, limits: tuple[LimitStatus, ...], now: int) -> Verdict:
    if entry.why and 0 < entry.expires_at <= entry.due_at:
        return Verdict(
            _still(entry.why), "it bounces: its max_age is over before that", entry.due_at
        )
    if entry.why:
        return Verdict(_still(entry.why), "an attempt", entry.due_at)
    if entry.attempts:
        return Verdict(
            f"attempt {entry.attempts} did not deliver it: {entry.last_reply}",
            f"attempt {entry.attempts + 1}",
            entry.due_at,
        )
    full = [limit.key for limit in limits if limit.free_at > now]
    if full:
        return Verdict(f"limit {', '.join(full)} has put it off", "an attempt", entry.due_at)
    why = entry.last_reply or "a limit, or the client's wish, has put it off"
    return Verdict(f"it is not due yet: {why}", "an attempt", entry.due_at)

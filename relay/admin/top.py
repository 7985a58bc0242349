"""What `relay top` looks at: a running relay in counts, once for each look.

Counts run since the relay began, so that two looks give rates. Pure, but for what it is given.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from relay.admin.control import LimitStatus, QueueStatus
from relay.delivery.backlog import LineBacklog
from relay.feedback.restraints import Restraint
from relay.observe.merging import Family
from relay.store.values import Suspension

FlowBy = Literal["all", "set", "pool", "source", "provider"]

_EDGE = 0.8
_MOST = 100  # of each kind of entry
_ATTEMPTS = "relay_attempts_total"
_COUNTERS = {
    "relay_recipients_accepted_total": "accepted",
    "relay_recipients_delivered_total": "delivered",
    "relay_recipients_deferred_total": "deferred",
    "relay_recipients_bounced_total": "bounced",
}
_LABELS: Mapping[FlowBy, str] = {
    "set": "configuration_set",
    "pool": "pool",
    "source": "source",
}


@dataclass(frozen=True, slots=True)
class Flow:
    """Recipients since the relay began, of what `by` and `name` say. What is accepted has no pool
    yet, no source and no provider. By provider attempts are counted: as `delivered` those that did
    deliver, as `deferred` all others."""

    by: FlowBy
    name: str
    accepted: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """A relay at one time (`at`, UTC ms). `lines` wait in memory, the largest first; `unplaced` has
    no source yet. `limits` are those that are nearly or wholly used up."""

    at: int
    queue: tuple[QueueStatus, ...] = ()
    flows: tuple[Flow, ...] = ()
    lines: tuple[LineBacklog, ...] = ()
    unplaced: int = 0
    limits: tuple[LimitStatus, ...] = ()
    restraints: tuple[Restraint, ...] = ()
    suspensions: tuple[Suspension, ...] = ()
    working_set: int = 0
    outbound_connections: int = 0


def flows_of(families: Iterable[Family]) -> tuple[Flow, ...]:
    """The counters of a relay, added up by each thing that they are counted by."""
    sums: dict[tuple[FlowBy, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for family in families:
        for sample in family.samples:
            labels = dict(sample.labels)
            if sample.name == _ATTEMPTS:
                went = "delivered" if labels["outcome"] == "delivered" else "deferred"
                sums["provider", labels["provider"]][went] += round(sample.value)
                continue
            counted = _COUNTERS.get(sample.name)
            if counted is None:
                continue
            sums["all", ""][counted] += round(sample.value)
            for by, label in _LABELS.items():
                if labels.get(label):
                    sums[by, labels[label]][counted] += round(sample.value)
    return tuple(Flow(by, name, **counts) for (by, name), counts in sums.items())


def at_their_edge(
    limits: Sequence[tuple[LimitStatus, int]],
) -> tuple[LimitStatus, ...]:
    """Of limits, each with what it allows in its window, those that hold mail up or soon will;
    the fullest first."""
    full = [
        (status.used / max(1, allowed), status)
        for status, allowed in limits
        if status.free_at or status.used >= _EDGE * allowed
    ]
    full.sort(key=lambda entry: -entry[0])
    return tuple(status for _, status in full[:_MOST])

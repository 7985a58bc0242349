"""What becomes of an entry of the suppression list when something is observed. Pure.

The same for what a settlement brings and for what is heard later, and for every store. What an
operator has said is stronger than a complaint, and that than a bounce: a stronger entry in force
stays. What is told twice, as after a crash, counts once.
"""

from dataclasses import replace

from relay.store.suppression_values import ChangeKind
from relay.store.values import SuppressionEntry, SuppressionReason

_STRENGTH: dict[SuppressionReason, int] = {"bounce": 1, "complaint": 2, "manual": 3}
_MOST_DOUBLINGS = 40


def observe(
    known: SuppressionEntry | None, seen: SuppressionEntry
) -> tuple[SuppressionEntry, ChangeKind] | None:
    """The entry that is on the list once `seen` was observed, and what that is called; None where
    nothing changes. `known` may have expired by then."""
    at = seen.created_at
    if known is None:
        return _lasting(seen, 0), "added"
    if at <= (known.seen_at or known.created_at) and _is_as_strong(known, seen):
        return None
    if not known.is_in_force(at):
        return _lasting(seen, known.bounces), "added"
    if not _is_as_strong(seen, known):
        return None
    entry = _lasting(seen, known.bounces)
    if known.reason != seen.reason:
        return entry, "replaced"
    until = _later(known.expires_at, entry.expires_at)
    renewed = replace(entry, created_at=known.created_at, expires_at=until, note=known.note)
    return renewed, "renewed"


def _is_as_strong(one: SuppressionEntry, other: SuppressionEntry) -> bool:
    return _STRENGTH[one.reason] >= _STRENGTH[other.reason]


def _lasting(seen: SuppressionEntry, bounces_before: int) -> SuppressionEntry:
    """With the count of bounces, and an end that fits it: twice as far off with each."""
    bounces = bounces_before + (seen.reason == "bounce")
    until = seen.expires_at
    if until is not None and seen.lasts_at_most:
        span = until - seen.created_at
        doublings = min(max(bounces - 1, 0), _MOST_DOUBLINGS)
        until = seen.created_at + min(span << doublings, max(span, seen.lasts_at_most))
    return replace(
        seen,
        bounces=bounces,
        expires_at=until,
        lasts_at_most=0,
        seen_at=seen.seen_at or seen.created_at,
    )


def _later(one: int | None, other: int | None) -> int | None:
    """The later of two ends; None is none at all."""
    return None if one is None or other is None else max(one, other)

"""`relay queue summary`: the queue in sums."""

from typing import Annotated

from cyclopts import Parameter

from relay.admin.endpoints import QUEUE_SUMMARY
from relay.admin.summaries import Sum, Summary, SummaryBy, SummaryRequest
from relay.cli.desk import open_desk
from relay.cli.failures import OK
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import print_json, print_table, say, span, until, utc_ms, warn

_NOTHING_IN_MEMORY = "nothing waits in memory for a source; `relay queue summary` has all there is"


def summary(
    *,
    by: Annotated[
        SummaryBy, Parameter(name="--by", help="set, pool, source, provider or domain.")
    ] = "set",
    limit: Annotated[int, Parameter(name="--limit", help="At most so many, the largest first.")] = (
        50
    ),
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Count what is queued by configuration set, pool, source, provider or domain.

    By source a running relay tells what waits in its memory: which source mail leaves from is
    decided when it is about to go.
    """
    with open_desk(config) as desk:
        found = desk.call(QUEUE_SUMMARY, SummaryRequest(by, limit))
    if as_json:
        print_json(found)
        return OK
    if not found.sums:
        say(_NOTHING_IN_MEMORY if by == "source" else "nothing is queued")
        return OK
    _print(found)
    if found.groups > len(found.sums):
        warn(f"only the largest {len(found.sums)} of {found.groups:,} are shown")
    return OK


def _print(found: Summary) -> None:
    now = utc_ms()
    rows = [_row(each, now) for each in found.sums]
    if found.by == "source":
        print_table(("source", "in memory"), [(row[0], row[1]) for row in rows])
        return
    if found.groups > 1:
        rows.append(_row(found.total, now))
    print_table(
        (found.by, "queued", "held", "suspended", "quarantined", "claimed", "oldest", "next due"),
        rows,
    )


def _row(each: Sum, now: int) -> tuple[object, ...]:
    return (
        each.name,
        each.queued,
        each.held,
        each.suspended,
        each.quarantined,
        each.claimed,
        span((now - each.oldest_accepted_at) / 1000) if each.oldest_accepted_at else "",
        until(each.next_due_at, now) if each.next_due_at else "",
    )

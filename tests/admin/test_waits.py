"""What deliveries in the queue wait for, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from relay.admin.waits import MOST_LINES, with_reasons
from relay.store.values import Line, QueueEntry

NOW = 1_800_000_000_000
ENTRY = QueueEntry(
    1, "m", "queued", NOW - 60_000, NOW + 3_600_000, NOW - 1, 0, "app", "news", "a@s.test",
    "x.test", ("b@x.test",), 100, False, "",
)  # fmt: skip


class Workers:
    def __init__(self, known: Mapping[Line, str]) -> None:
        self.known = known
        self.asked: list[Sequence[Line]] = []

    async def __call__(self, lines: Sequence[Line]) -> Mapping[Line, str]:
        self.asked.append(lines)
        return self.known


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"waits_for": "rest:acme"}, "every source that it may leave from rests for acme"),
        (
            {"waits_for": "warmup:192.0.2.1", "due_at": NOW + 1},
            "192.0.2.1 is warming up, and may not send more yet",
        ),
        ({"waits_for": "pool:news"}, "it waited for a node that has addresses of pool news: b, c"),
        ({"waits_for": "pool:gone"}, "it waited for a node that has addresses of pool gone"),
        (
            {"state": "suspended", "suspended_by": "source:192.0.2.1 source:2001:db8::1"},
            "suspended: source 192.0.2.1, source 2001:db8::1",
        ),
        ({"due_at": NOW + 1}, ""),
        ({"claimed": True}, ""),
        ({"state": "held"}, ""),
    ],
)
async def test_the_store_says_what_it_knows_and_nobody_else_is_asked(
    change: dict[str, Any], why: str
) -> None:
    workers = Workers({("news", "x.test"): "asked for nothing"})
    carriers = {"news": ("b", "c")}
    (told,) = await with_reasons([replace(ENTRY, **change)], workers, carriers, NOW)
    assert (told.why, workers.asked) == (why, [])


async def test_workers_say_why_due_mail_lies_in_the_store_once_for_each_line() -> None:
    workers = Workers({("news", "x.test"): "it waited for its turn"})
    other = replace(ENTRY, domain="y.test")
    told = await with_reasons([ENTRY, ENTRY, other], workers, {}, NOW)
    assert [entry.why for entry in told] == ["it waited for its turn"] * 2 + [""]
    assert workers.asked == [(("news", "x.test"), ("news", "y.test"))]


async def test_the_question_is_bounded() -> None:
    workers = Workers({})
    entries = [replace(ENTRY, domain=f"{n}.test") for n in range(MOST_LINES + 1)]
    assert len(await with_reasons(entries, workers, {}, NOW)) == MOST_LINES + 1
    assert len(workers.asked[0]) == MOST_LINES

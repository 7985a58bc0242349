"""From what was measured to the page, and from samples to a profile."""

from pathlib import Path

import pytest

from bench import results
from bench.machine import Machine
from bench.profile import shares, stacks
from bench.report import document
from bench.results import Level, Matrix, Measured, Results, Scale, Work
from bench.run import Run

MACHINE = Machine("a CPU", 2, 24.0, "6.1", "ext4", 0.3, 0.4)


def run(rate: float, cpu: float) -> Run:
    return Run(1000, rate, 1.0, 2.0, 3.0, cpu, 0.5, 0.1, 50_000_000, 3)


def measured() -> Results:
    runs = [
        Measured("relay", "base", run(900.0, 1.0)),
        Measured("relay", "base", run(1000.0, 1.2)),
        Measured("relay", "base", run(1100.0, 1.1)),
        Measured("Postfix with OpenDKIM", "base", run(250.0, 4.4)),
    ]
    work = Work("relay", 10, 10, 10, 10, True, 10, 3, 3, 8, 8, "fdatasync relay.db-wal")
    left_out = {"Haraka": "not installed: node"}
    matrix = Matrix("today", MACHINE, {"relay": "relay 1"}, left_out, runs, [work])
    levels = [Level("1 set", [run(1000, 1.0)]), Level("100 sets", [run(700, 1.1)])]
    return Results(matrix, Scale("today", MACHINE, sets=levels))


def test_the_page_gives_medians_with_ranges_ratios_and_what_was_left_out() -> None:
    page = document(measured(), ["plots/rate.png"])
    assert "1000 (900–1100)" in page
    assert "| base | **4.00** times | **0.25** times |" in page
    assert "left out: Haraka: not installed: node" in page
    assert "(plots/rate.png)" in page
    assert "2 cores of a CPU" in page


def test_the_page_says_where_a_level_is_not_flat() -> None:
    assert "NOT flat within 20%: at most 1.10 times the CPU, at least 0.70" in document(
        measured(), []
    )


def test_results_are_the_same_after_they_were_kept(tmp_path: Path) -> None:
    results.save(measured(), tmp_path / "results.json")
    assert results.load(tmp_path / "results.json") == measured()


def test_samples_become_cpu_time_of_the_room_that_called_the_library() -> None:
    raw = (
        "thread (7): MainThread;run (/lib/asyncio/runners.py:1);"
        "ask (/app/relay/frontend/session.py:3);write (/lib/ssl.py:4) 30\n"
        "thread (7): MainThread;serve (/app/relay/runtime/main.py:1);"
        "Runner.run (/lib/asyncio/runners.py:1) 10\n"
        "thread (8): writer;commit (/app/relay/store/writer.py:9) 99\n"
    )
    seen = stacks(raw, "worker 1", {7: 0.4, 8: 0.1, 9: 0.5})
    rooms: dict[str, float] = {}
    for stack in seen:
        rooms[stack.room()] = rooms.get(stack.room(), 0) + stack.seconds
    assert rooms == pytest.approx({"relay.frontend": 0.3, "relay.store": 0.1, "outside": 0.6})
    text = "\n".join(shares(seen, messages=1000))
    assert "   300.0   30.0%  relay.frontend" in text
    assert "write (lib/ssl.py)" in text

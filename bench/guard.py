"""`make bench-check`: has relay become dearer? Fails beyond 15 % more CPU a message than before.

A machine's speed is not the same from minute to minute, so CPU seconds are compared with those of
a reference (bench/reference.py) that runs at the same time on the same cores: relay's CPU a message
is told in units of reference work. The median of several rounds is compared with the ratio in
bench/baseline.json, which is committed. Wall-clock is not looked at.

The baseline is of one kind of machine: on another, run the old commit with --update first. Run with
--update, too, when a change is meant to cost or to save something, and commit the file with it.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bench.cases import ROWS
from bench.machine import this_machine
from bench.run import PORTS, Run, progress, run
from bench.sink import Sink
from bench.systems.relay import Relay

BASELINE = Path(__file__).parent / "baseline.json"
_LIMIT = 1.15
_ROWS = {"base": 600, "50 KB": 400}  # messages of a round
_WORKERS = 2  # the same on every machine


@dataclass(frozen=True, slots=True)
class Ratio:
    """Relay's CPU of one message in units of reference work: the median round, and the range."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was measured when somebody last said that it is as it should be."""

    machine: str
    python: str
    rows: dict[str, Ratio]


def measure(rounds: int) -> dict[str, Ratio]:
    """Run each row `rounds` times, in turn."""
    relay = Relay(workers=_WORKERS if Relay.has_workers() else None)
    found: dict[str, list[float]] = {row: [] for row in _ROWS}
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        relay.start(Path(name) / "system", PORTS)
        sink = Sink(PORTS.sink)
        try:
            run(relay, sink, replace(ROWS["base"], messages=500))
            for _ in range(rounds):
                for row, messages in _ROWS.items():
                    found[row].append(_round(relay, sink, row, messages))
        finally:
            relay.stop()
            sink.stop()
    return {
        row: Ratio(statistics.median(ratios), min(ratios), max(ratios))
        for row, ratios in found.items()
    }


def _round(relay: Relay, sink: Sink, row: str, messages: int) -> float:
    with _reference() as seconds_a_unit:
        done: Run = run(relay, sink, replace(ROWS[row], messages=messages))
    unit = seconds_a_unit[0]
    ratio = done.cpu / messages / unit
    progress(
        f"{row}: {done.cpu_per_1000:.2f} CPU-s per 1,000 messages, {unit * 1000:.2f} per 1,000 "
        f"units of reference: {ratio:.2f}"
    )
    return ratio


@contextmanager
def _reference() -> Iterator[list[float]]:
    """The reference works inside the block; after it the list has its CPU seconds a unit."""
    found: list[float] = []
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.reference"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise SystemExit("the reference did not start")
        yield found
        said, _ = process.communicate(timeout=60)
        result = json.loads(said)
        found.append(result["cpu"] / result["units"])
    finally:
        process.kill()
        process.wait()


def verdict(baseline: dict[str, Ratio], now: dict[str, Ratio]) -> tuple[list[str], bool]:
    """What to say of each row, and whether one is beyond the limit."""
    lines, worse = [], False
    for row, ratio in now.items():
        if row not in baseline:
            lines.append(f"{row}: {ratio.median:.2f}; the baseline does not have this row")
            continue
        times = ratio.median / baseline[row].median
        beyond = times > _LIMIT
        worse |= beyond
        lines.append(
            f"{row}: {'FAILED: ' if beyond else ''}relay spends {times:.2f} times the CPU a message"
            f" of the baseline (in units of reference work: {ratio.median:.2f}, was"
            f" {baseline[row].median:.2f}; rounds {ratio.lowest:.2f} to {ratio.highest:.2f};"
            f" limit {_LIMIT})"
        )
    return lines, worse


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-check", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="3 rounds: only to see that it works")
    parser.add_argument("--update", action="store_true", help="make the result the baseline")
    options = parser.parse_args()
    now = measure(3 if options.quick else options.rounds)
    if options.update:
        made = Baseline(str(this_machine()), platform.python_version(), now)
        BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
        print(f"written: {BASELINE}")
        return
    if not BASELINE.exists():
        raise SystemExit("there is no bench/baseline.json: run `python -m bench.guard --update`")
    baseline = msgspec.json.decode(BASELINE.read_bytes(), type=Baseline)
    lines, worse = verdict(baseline.rows, now)
    print("\n".join(lines))
    if worse:
        raise SystemExit(
            f"relay has become dearer (the baseline is of {baseline.machine}, Python "
            f"{baseline.python}). If that is meant, run with --update and commit the baseline."
        )


if __name__ == "__main__":
    main()

"""Results as a table for people, in Markdown."""

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One load: `messages` of `size` octets over `connections`, `per_connection` on each."""

    size: int
    connections: int
    per_connection: int
    messages: int

    def __str__(self) -> str:
        kilobytes = self.size // 1024
        return f"{kilobytes} KB, {self.connections} connections, {self.per_connection} a connection"


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of one case measured."""

    rate: float
    delays: tuple[float, ...]
    cpu_per_1000: float
    memory: int
    processes: int


def table(results: dict[tuple[str, Case], list[Run]]) -> str:
    """Median (lowest to highest) over the runs of each system and case."""
    lines = [
        "| load | system | messages/s | ack p50 ms | p95 | p99 | CPU-s per 1,000 "
        "| memory MB (processes) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (system, case), runs in results.items():
        delays = sorted(delay * 1000 for run in runs for delay in run.delays)
        lines.append(
            f"| {case} | {system} | {_spread([run.rate for run in runs], 0)} "
            f"| {_share(delays, 0.50):.1f} | {_share(delays, 0.95):.1f} "
            f"| {_share(delays, 0.99):.1f} | {_spread([run.cpu_per_1000 for run in runs], 2)} "
            f"| {max(run.memory for run in runs) / 1e6:.0f} "
            f"({max(run.processes for run in runs)}) |"
        )
    return "\n".join(lines)


def ratios(results: dict[tuple[str, Case], list[Run]], ours: str) -> str:
    """How `ours` stands to each other system in the same session, case by case."""
    lines = []
    for (system, case), runs in results.items():
        if system == ours or (ours, case) not in results:
            continue
        mine = results[ours, case]
        rate = _median(mine, "rate") / _median(runs, "rate")
        cpu = _median(mine, "cpu_per_1000") / _median(runs, "cpu_per_1000")
        lines.append(
            f"- {case}: {rate:.2f} times the messages/s of {system}, {cpu:.2f} times its CPU"
        )
    return "\n".join(lines)


def _median(runs: list[Run], field: str) -> float:
    return statistics.median(getattr(run, field) for run in runs)


def _spread(values: list[float], digits: int) -> str:
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

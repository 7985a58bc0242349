"""What a system used: CPU seconds and memory of a process and all its descendants, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds so far and proportional memory now, of `processes` processes."""

    cpu: float
    memory: int
    processes: int


def usage(roots: tuple[int, ...]) -> Usage:
    """Sum over `roots` and their descendants; CPU of children that ended is in their parents."""
    parents: dict[int, list[int]] = {}
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            stats[int(entry.name)] = fields
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    todo, members = list(roots), []
    while todo:
        pid = todo.pop()
        if pid in stats:
            members.append(pid)
            todo += parents.get(pid, [])
    ticks = sum(int(value) for pid in members for value in stats[pid][11:15])
    return Usage(ticks / _TICK, sum(map(_memory, members)), len(members))


def _memory(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next(
        (int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0
    )

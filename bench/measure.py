"""What a system used: CPU seconds and memory of processes and all their descendants.

The processes are found anew each time, so that a supervisor's workers count from the moment that
they exist. The CPU of those that live is read from the kernel's clock of each process (nanoseconds,
all its threads); that of those that ended is in their parents, in ticks.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_CHILDREN = slice(13, 15)  # of the fields behind the name: cutime, cstime


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds so far and proportional memory now, of `processes` processes."""

    cpu: float
    memory: int
    processes: int


def usage(roots: tuple[int, ...], memory: bool = True) -> Usage:
    """Sum over `roots` and their descendants. Without `memory`, which is dear, that is 0."""
    ended = tree(roots)
    cpu = sum(_cpu(pid) for pid in ended) + sum(ended.values()) / _TICK
    return Usage(cpu, sum(map(memory_of, ended)) if memory else 0, len(ended))


def tree(roots: tuple[int, ...]) -> dict[int, int]:
    """The processes of the trees, and of each the CPU ticks of its children that ended."""
    parents: dict[int, list[int]] = {}
    ended: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            ended[int(name)] = sum(map(int, fields[_CHILDREN]))
            parents.setdefault(int(fields[1]), []).append(int(name))
    todo, members = list(roots), {}
    while todo:
        pid = todo.pop()
        if pid in ended:
            members[pid] = ended[pid]
            todo += parents.get(pid, [])
    return members


def _cpu(pid: int) -> float:
    # The clock of another process, as clock_getcpuclockid(3) makes it.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def memory_of(pid: int) -> int:
    """Its proportional share of memory (PSS); 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next(
        (int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0
    )

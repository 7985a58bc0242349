"""The machine that the figures are from: without it they mean nothing."""

import os
import platform
import re
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_SYNCS = 300


@dataclass(frozen=True, slots=True)
class Machine:
    """CPU, memory, kernel, and the disk under the temporary directory."""

    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    file_system: str
    sync_ms: float
    sync_p95_ms: float

    def __str__(self) -> str:
        return (
            f"{self.cores} cores of {self.cpu}, {self.memory_gb:.0f} GB, Linux {self.kernel}, "
            f"{self.file_system}; writing and syncing 4 KB takes {self.sync_ms:.2f} ms "
            f"(p95 {self.sync_p95_ms:.2f} ms)"
        )


def this_machine() -> Machine:
    """Look at this machine, and time its disk."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    middle, late = _sync_ms()
    return Machine(
        cpu=model[1] if model else platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gb=int(memory[1]) / 1e6 if memory else 0,
        kernel=platform.release(),
        file_system=_file_system(Path(tempfile.gettempdir())),
        sync_ms=middle,
        sync_p95_ms=late,
    )


def _sync_ms() -> tuple[float, float]:
    """Median and 95th percentile of appending 4 KB and syncing them."""
    times = []
    with tempfile.TemporaryFile() as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def _file_system(directory: Path) -> str:
    """Type of the file system that `directory` is on. tmpfs does not sync: it would be no test."""
    best, kind = "", "unknown file system"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, found, *_ = line.split()
        if directory.is_relative_to(place) and len(place) >= len(best):
            best, kind = place, found
    return kind

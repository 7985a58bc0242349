"""One run: a system under one load, from the first command to the last message at the sink.

The load generator is a process of its own; its CPU and the sink's are measured beside the system's,
as they share the machine. Memory is sampled while the load runs.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from bench.cases import Case
from bench.measure import usage
from bench.sink import Sink
from bench.systems.system import PASSWORD, SENDER, Ports, System

PORTS = Ports.free()
_SAMPLE_S = 0.5
_PATIENCE_S = 180.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of one case measured. Delays are milliseconds, CPU is seconds, memory octets."""

    messages: int
    rate: float
    p50: float
    p95: float
    p99: float
    cpu: float
    load_cpu: float
    sink_cpu: float
    memory: int
    processes: int

    @property
    def cpu_per_1000(self) -> float:
        return self.cpu / self.messages * 1000


def run(system: System, sink: Sink, case: Case, ports: Ports = PORTS) -> Run:
    """Run `case`. Raises SystemExit where not every message arrived, or one more than once."""
    before, sink_before = usage(system.roots()), sink.cpu()
    expected = sink.count + case.messages
    loaded, memory = _load(load_command(system, case, ports=ports), system)
    finished = sink.wait_for(expected, since=loaded["finished"], seconds=_PATIENCE_S)
    if finished is None:
        raise SystemExit(f"{system.name}: {sink.count} of {expected} messages arrived")
    after, sink_after = usage(system.roots()), sink.cpu()
    if sink.count > expected:
        raise SystemExit(f"{system.name}: {sink.count} messages arrived, {expected} were sent")
    delays = sorted(delay * 1000 for delay in loaded["delays"])
    return Run(
        messages=case.messages,
        rate=case.messages / (finished - loaded["started"]),
        p50=_share(delays, 0.50),
        p95=_share(delays, 0.95),
        p99=_share(delays, 0.99),
        cpu=after.cpu - before.cpu,
        load_cpu=loaded["cpu"],
        sink_cpu=sink_after - sink_before,
        memory=max(memory, after.memory),
        processes=after.processes,
    )


def _load(command: list[str], system: System) -> tuple[dict[str, Any], int]:
    """What the generator printed, and the most memory that was seen."""
    most = 0
    with tempfile.TemporaryFile("w+") as output:
        client = subprocess.Popen(command, stdout=output, text=True)
        try:
            while _runs_on(client):
                most = max(most, usage(system.roots()).memory)
        finally:
            client.kill()
            client.wait()
        if client.returncode:
            raise SystemExit(f"{system.name}: the load generator failed")
        output.seek(0)
        return json.load(output), most


def load_command(system: System, case: Case, *more: str, ports: Ports = PORTS) -> list[str]:
    """The command line of a load generator for `case`."""
    options = {
        "--host": "127.0.0.1",
        "--port": ports.submission,
        "--user": system.user,
        "--password": PASSWORD,
        "--ca": system.authority(),
        "--sender": SENDER,
        "--recipient-domain": "dest.test",
        "--connections": case.connections,
        "--messages-per-connection": case.per_connection,
        "--messages": case.messages,
        "--size": case.size,
        "--recipients": case.recipients,
        "--sets": case.sets,
    }
    words = [str(word) for option in options.items() for word in option]
    words += ["--pipelining"] if case.pipelining else []
    words += ["--spread-recipients"] if case.spread_recipients else []
    return [sys.executable, "-m", "bench.load", *words, *more]


def _runs_on(client: "subprocess.Popen[str]") -> bool:
    try:
        client.wait(timeout=_SAMPLE_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def progress(text: str) -> None:
    """Tell the person who waits what is going on."""
    print(text, file=sys.stderr, flush=True)

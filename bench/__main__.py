"""`make bench`: every system under the same load, in turn, several runs; a table at the end.

It installs nothing; what is missing is named and left out. Before a system is measured it must
deliver a few messages whole, once, and with a signature that verifies.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TextIO

from bench.check import check_dumps
from bench.measure import usage
from bench.report import Case, Run, ratios, table
from bench.sink import Sink
from bench.systems.postfix import Postfix
from bench.systems.relay import Relay
from bench.systems.system import PASSWORD, SENDER, Ports, System

_PORTS = Ports(submission=3525, sink=3526, metrics=3580)
_WARM_UP = 50
_CASES = (
    Case(size=4096, connections=10, per_connection=10, messages=3000),
    Case(size=51200, connections=10, per_connection=10, messages=1500),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="a word in the name of the only system to run")
    parser.add_argument("--output", type=Path, help="write the results to this file, too")
    options = parser.parse_args()
    results: dict[tuple[str, Case], list[Run]] = {}
    for number in range(options.runs):
        for system in _systems(options.only):
            print(f"run {number + 1} of {options.runs}: {system.name}", file=sys.stderr, flush=True)
            for case, run in _measure(system, check=number == 0):
                results.setdefault((system.name, case), []).append(run)
    text = _document({key: results[key] for key in sorted(results, key=_by_case)}, options.runs)
    print(text)
    if options.output:
        options.output.write_text(text)


def _by_case(key: tuple[str, Case]) -> tuple[int, str]:
    return key[1].size, key[0]


def _systems(only: str | None) -> list[System]:
    systems: list[System] = [Relay()]
    if missing := Postfix.missing():
        print(f"Postfix is left out; not installed: {', '.join(missing)}", file=sys.stderr)
    else:
        systems += [Postfix(signing=True), Postfix(signing=False)]
    return [system for system in systems if only is None or only.lower() in system.name.lower()]


def _measure(system: System, check: bool) -> list[tuple[Case, Run]]:
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        system.start(directory / "system", _PORTS)
        try:
            if check:
                _check(system, directory / "dumps")
            sink = Sink(_PORTS.sink)
            try:
                _run(system, sink, Case(4096, 10, 10, _WARM_UP))
                return [(case, _run(system, sink, case)) for case in _CASES]
            finally:
                sink.stop()
        finally:
            system.stop()


def _check(system: System, dumps: Path) -> None:
    dumps.mkdir(mode=0o777)
    dumps.chmod(0o777)
    sink = Sink(_PORTS.sink, dumps)
    try:
        _run(system, sink, Case(4096, 2, 5, 20))
    finally:
        sink.stop()
    if problems := check_dumps(dumps, 20, system.dkim_record()):
        raise SystemExit(f"{system.name} does not do the work: {'; '.join(problems)}")


def _run(system: System, sink: Sink, case: Case) -> Run:
    before, expected = usage(system.roots()), sink.count + case.messages
    most = 0
    with tempfile.TemporaryFile("w+") as output:
        client = _start_load(system, case, output)
        while _runs_on(client, seconds=0.5):
            most = max(most, usage(system.roots()).memory)
        if client.returncode:
            raise SystemExit(f"{system.name}: the load generator failed")
        output.seek(0)
        loaded = json.load(output)
    finished = sink.wait_for(expected, since=loaded["finished"], seconds=120)
    if finished is None:
        raise SystemExit(f"{system.name}: {sink.count} of {expected} messages arrived")
    after = usage(system.roots())
    return Run(
        rate=case.messages / (finished - loaded["started"]),
        delays=tuple(loaded["delays"]),
        cpu_per_1000=(after.cpu - before.cpu) / case.messages * 1000,
        memory=max(most, after.memory),
        processes=after.processes,
    )


def _start_load(system: System, case: Case, output: TextIO) -> "subprocess.Popen[str]":
    options = {
        "--host": "127.0.0.1",
        "--port": _PORTS.submission,
        "--user": system.user,
        "--password": PASSWORD,
        "--ca": system.authority(),
        "--sender": SENDER,
        "--recipient-domain": "dest.test",
        "--connections": case.connections,
        "--messages-per-connection": case.per_connection,
        "--messages": case.messages,
        "--size": case.size,
    }
    words = [str(word) for option in options.items() for word in option]
    return subprocess.Popen([sys.executable, "-m", "bench.load", *words], stdout=output, text=True)


def _runs_on(client: "subprocess.Popen[str]", seconds: float) -> bool:
    try:
        client.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _document(results: dict[tuple[str, Case], list[Run]], runs: int) -> str:
    return "\n".join(
        [
            "# Benchmark",
            "",
            f"{runs} runs of each system in turn on one machine ({platform.machine()}, Python "
            f"{platform.python_version()}); median (lowest–highest). STARTTLS and AUTH in, durable "
            "before 250, one recipient, out in clear to Postfix's smtp-sink on loopback. CPU is "
            "that of all processes of the system. Load generator and sink share the machine: "
            "compare systems within this table only.",
            "",
            table(results),
            "",
            ratios(results, Relay.name),
            "",
        ]
    )


if __name__ == "__main__":
    main()

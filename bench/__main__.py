"""`make bench`: every system under the same load, in turn, several runs; a page at the end.

It installs nothing; what is missing is named and left out. Before a system is measured it must
deliver messages whole, once, signed, and synced before they were acknowledged.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import durable, plots, scale
from bench.cases import BASE, ROWS
from bench.check import read_dumps
from bench.machine import this_machine
from bench.report import document
from bench.results import Matrix, Measured, Work, load, save
from bench.run import PORTS, progress, run
from bench.sink import Sink
from bench.systems.haraka import Haraka
from bench.systems.postfix import Postfix
from bench.systems.relay import Relay
from bench.systems.system import System

_HERE = Path(__file__).parent
_WARM_UP = replace(BASE, messages=1000)  # a compiler that works at run time needs as many
_CHECKS = (
    replace(BASE, messages=200),
    replace(BASE, messages=50, recipients=10),
    replace(BASE, messages=50, size=50 * 1024, pipelining=True),
)
_SAMPLE = 30
_TRACED = 8
_ONE_WORKER = "relay, 1 worker"  # for the base row only
_QUICK = 0.1


def main() -> None:
    options = _options()
    if shutil.which("smtp-sink") is None:
        raise SystemExit("smtp-sink, which comes with Postfix, is needed: see bench/README.md")
    results_file = options.results
    results = load(results_file)
    if "matrix" in options.parts:
        results = replace(results, matrix=_matrix(options))
        save(results, results_file)
    if "scale" in options.parts:
        results = replace(results, scale=scale.measure(quick=options.quick))
        save(results, results_file)
    page = options.output
    drawn: list[str] = []
    if lacking := plots.missing():
        progress(lacking)
    elif results.matrix:
        paths = plots.draw(results.matrix, page.parent / "plots")
        drawn = [str(path.relative_to(page.parent)) for path in paths]
    page.write_text(document(results, drawn))
    progress(f"written: {page}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="a word in the name of the only systems to run")
    parser.add_argument("--rows", help=f"of {', '.join(ROWS)}; commas between; default: all")
    parser.add_argument(
        "--parts", default="matrix,scale", help="matrix, scale; empty: only write the page again"
    )
    parser.add_argument("--quick", action="store_true", help="1 run, a tenth of the messages")
    parser.add_argument("--output", type=Path, help="default: bench/RESULTS.md; not with --quick")
    options = parser.parse_args()
    scratch = options.quick and options.output is None
    folder = Path(tempfile.mkdtemp(prefix="bench-quick-")) if scratch else _HERE
    options.output = options.output or folder / "RESULTS.md"
    options.results = options.output.parent / "results.json"
    options.parts = options.parts.split(",") if options.parts else []
    options.runs = 1 if options.quick else options.runs
    options.rows = options.rows.split(",") if options.rows else list(ROWS)
    return options


def _matrix(options: argparse.Namespace) -> Matrix:
    systems, left_out = _systems(options.only)
    measured: list[Measured] = []
    work: list[Work] = []
    for number in range(options.runs):
        for place in range(len(systems)):
            # Each run begins with another system, so that no one is always first.
            system = systems[(place + number) % len(systems)]
            progress(f"run {number + 1} of {options.runs}: {system.name}")
            with _started(system) as directory:
                if number == 0:
                    work.append(_check(system, directory))
                measured += _measure(system, options)
    return Matrix(
        made=time.strftime("%d %B %Y, %H:%M UTC", time.gmtime()),
        machine=this_machine(),
        versions={system.name: system.version() for system in systems},
        left_out=left_out,
        measured=measured,
        work=work,
    )


def _systems(only: str | None) -> tuple[list[System], dict[str, str]]:
    """The systems that can run here, and why others cannot."""
    systems: list[System] = [Relay()]
    left_out = {}
    if Relay.has_workers():
        systems.append(Relay(workers=1))
    for signing in (True, False):
        postfix = Postfix(signing)
        if missing := Postfix.missing(signing):
            left_out[postfix.name] = f"not installed: {', '.join(missing)}"
        else:
            systems.append(postfix)
    if missing := Haraka.missing():
        left_out["Haraka"] = f"not installed: {', '.join(missing)}"
    else:
        systems.append(Haraka())
    for name, why in left_out.items():
        progress(f"{name} is left out; {why}; see bench/README.md")
    return [s for s in systems if only is None or only.lower() in s.name.lower()], left_out


@contextmanager
def _started(system: System) -> Iterator[Path]:
    """The system, running below the directory."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        system.start(directory / "system", PORTS)
        try:
            yield directory
        finally:
            system.stop()


def _measure(system: System, options: argparse.Namespace) -> Iterator[Measured]:
    share = _QUICK if options.quick else 1.0
    sink = Sink(PORTS.sink)
    try:
        run(system, sink, _WARM_UP)
        for row in options.rows:
            if system.name != _ONE_WORKER or row == "base":
                done = run(system, sink, ROWS[row].scaled(share))
                progress(f"  {row}: {done.rate:.0f}/s, {done.cpu_per_1000:.2f} CPU-s per 1,000")
                yield Measured(system.name, row, done)
    finally:
        sink.stop()


def _check(system: System, directory: Path) -> Work:
    """That it does the work. Raises SystemExit where it does not."""
    dumps = directory / "dumps"
    dumps.mkdir()
    dumps.chmod(0o777)
    sink = Sink(PORTS.sink, dumps)
    try:
        for case in _CHECKS:
            run(system, sink, case)
    finally:
        sink.stop()
    record = system.dkim_record()
    dumped = read_dumps(dumps, record, _SAMPLE)
    synced = _synced(system, directory)
    work = Work(
        system=system.name,
        sent=sum(case.messages * case.recipients for case in _CHECKS),
        copies=dumped.copies,
        distinct=dumped.distinct,
        messages=dumped.messages,
        signs=record is not None,
        signed=dumped.signed,
        sample=dumped.sample,
        verified=dumped.verified,
        traced=synced.messages,
        synced=synced.synced,
        synced_how=synced.how,
    )
    if problems := work.problems():
        raise SystemExit(f"{system.name} does not do the work: {'; '.join(problems)}")
    return work


def _synced(system: System, directory: Path) -> durable.Synced:
    if why := durable.reason_not_to():
        return durable.Synced(0, -1, f"not traced: {why}")
    sink = Sink(PORTS.sink)
    try:
        return durable.watch(system, sink, PORTS, directory, _TRACED)
    finally:
        sink.stop()


if __name__ == "__main__":
    main()

"""Results as a page for people, in Markdown."""

import statistics
from collections.abc import Sequence

from bench.cases import ROWS
from bench.results import Matrix, Results, Work
from bench.run import Run
from bench.scale_report import scale_section
from bench.words import median, spread

OURS = "relay"

_HEAD = """\
# Benchmark

Made by `make bench`; [README.md](README.md) says how to run it and what each figure means. The load
generator and the sink share the machine with the system that is measured, so a rate is that of the
whole machine; **CPU-seconds per 1,000 messages** compare best. Figures of one page are of one
machine and one session: compare within a page only.
"""

_MATRIX = """\
## Against the peers

Made {made} on {machine}.

Runs of each system, in turn: {runs}. Every client logs in with AUTH inside STARTTLS, every message
is durable before 250, mail goes out in clear to Postfix's smtp-sink on loopback. Signing is
RSA-2048. CPU and memory are those of all processes of the system. Median (lowest–highest).

{versions}
"""


def document(results: Results, plots: Sequence[str]) -> str:
    """The whole page; `plots` are paths relative to it."""
    parts = [_HEAD]
    if results.matrix:
        parts += matrix_section(results.matrix, plots)
    if results.scale:
        parts += scale_section(results.scale)
    return "\n".join(parts)


def matrix_section(matrix: Matrix, plots: Sequence[str]) -> list[str]:
    """Versions, ratios, plots, the table, and the check of the work."""
    runs = max(len(found) for found in by_row(matrix).values())
    versions = [f"- {name}: {text}" for name, text in matrix.versions.items()]
    versions += [f"- left out: {name}: {why}" for name, why in matrix.left_out.items()]
    return [
        _MATRIX.format(
            runs=runs, made=matrix.made, machine=matrix.machine, versions="\n".join(versions)
        ),
        "### Ratios\n",
        ratios(matrix),
        *(f"![{path.rpartition('/')[2].removesuffix('.png')}]({path})\n" for path in plots),
        "### Table\n",
        _loads(matrix),
        table(matrix),
        "### That all do the same work\n",
        work_table(matrix.work),
    ]


def by_row(matrix: Matrix) -> dict[tuple[str, str], list[Run]]:
    """The runs of each (row, system), rows in the order of the cases."""
    order = list(ROWS)
    found: dict[tuple[str, str], list[Run]] = {}
    for measured in sorted(matrix.measured, key=lambda m: order.index(m.row)):
        found.setdefault((measured.row, measured.system), []).append(measured.run)
    return found


def table(matrix: Matrix) -> str:
    """Every row and system."""
    lines = [
        "| row | system | messages/s | ack p50 ms | p95 | p99 | CPU-s per 1,000 "
        "| peak memory MB (processes) | CPU-s per 1,000 of load generator, sink |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (row, system), runs in by_row(matrix).items():
        load = statistics.median(run.load_cpu / run.messages * 1000 for run in runs)
        sink = statistics.median(run.sink_cpu / run.messages * 1000 for run in runs)
        lines.append(
            f"| {row} | {system} | {spread([run.rate for run in runs])} "
            f"| {spread([run.p50 for run in runs])} | {spread([run.p95 for run in runs])} "
            f"| {spread([run.p99 for run in runs])} "
            f"| {spread([run.cpu_per_1000 for run in runs])} "
            f"| {max(run.memory for run in runs) / 1e6:.0f} "
            f"({max(run.processes for run in runs)}) | {load:.2f}, {sink:.2f} |"
        )
    return "\n".join([*lines, ""])


def ratios(matrix: Matrix) -> str:
    """How relay stands to each peer in the same session, row by row."""
    found = by_row(matrix)
    systems = list(dict.fromkeys(system for _, system in found if not system.startswith(OURS)))
    head = " | ".join(f"messages/s against {name} | CPU against it" for name in systems)
    lines = [f"| row | {head} |", "|---" * (1 + 2 * len(systems)) + "|"]
    for row in dict.fromkeys(row for row, _ in found):
        if (row, OURS) not in found:
            continue
        mine = found[row, OURS]
        cells = []
        for name in systems:
            theirs = found.get((row, name))
            if theirs is None:
                cells += ["", ""]
                continue
            cells.append(f"**{median(mine, 'rate') / median(theirs, 'rate'):.2f}** times")
            cells.append(
                f"**{median(mine, 'cpu_per_1000') / median(theirs, 'cpu_per_1000'):.2f}** times"
            )
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _loads(matrix: Matrix) -> str:
    rows = dict.fromkeys(row for row, _ in by_row(matrix))
    return "\n".join([*(f"- {row}: {ROWS[row]}" for row in rows), ""])


def work_table(work: list[Work]) -> str:
    """What the check before the timed runs counted."""
    lines = [
        "Before the timed runs, at a sink that keeps every message: a copy is one message for one "
        "recipient. In the timed runs, too, the sink must count what was sent, no less and no more."
        "\n",
        "| system | copies sent | arrived | distinct | signed | signatures verified "
        "| synced before 250 |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in work:
        signed = f"{one.signed} of {one.messages}" if one.signs else "does not sign"
        verified = f"{one.verified} of a sample of {one.sample}" if one.signs else ""
        synced = (
            f"{one.synced} of {one.traced}: {one.synced_how}" if one.synced >= 0 else one.synced_how
        )
        lines.append(
            f"| {one.system} | {one.sent} | {one.copies} | {one.distinct} | {signed} "
            f"| {verified} | {synced} |"
        )
    return "\n".join([*lines, ""])

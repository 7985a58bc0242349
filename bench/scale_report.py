"""The section of the page about large messages and many of everything."""

from bench.results import Held, Large, Level, Scale
from bench.words import median, spread

_FLAT = 0.20


def scale_section(scale: Scale) -> list[str]:
    """All parts that were measured."""
    parts = ["## Large and many\n", f"Made {scale.made} on {scale.machine}.\n"]
    if scale.large:
        parts += _large(scale.large)
    if scale.held:
        parts += _held(scale.held)
    if scale.sets:
        parts += ["### Configuration sets\n", "The mail is spread over all of them.\n"]
        parts += _levels(scale.sets)
    if scale.suppressed:
        parts += [
            "### Suppressed addresses\n",
            "None of them is sent to; each recipient is another, and their addresses lie evenly "
            "between those of the list.\n",
        ]
        parts += _levels(scale.suppressed)
    return parts


def _large(found: list[Large]) -> list[str]:
    lines = [
        "### 40 MB messages\n",
        f"{found[0].run.messages} messages over 2 connections. Memory is that of all processes.\n",
        "| system | CPU-s per 100 MB | MB/s | memory MB before | peak memory MB |",
        "|---|---|---|---|---|",
    ]
    for one in found:
        megabytes = one.octets * one.run.messages / 1e6
        lines.append(
            f"| {one.system} | {one.run.cpu / megabytes * 100:.2f} "
            f"| {one.run.rate * one.octets / 1e6:.0f} "
            f"| {one.idle_memory / 1e6:.0f} | {one.run.memory / 1e6:.0f} |"
        )
    cpu = [one.run.cpu / one.run.messages for one in found]
    ratios = [f"{cpu[0] / cpu[n]:.2f} times that of {found[n].system}" for n in range(1, len(cpu))]
    said = f"CPU of {found[0].system} per megabyte: {', '.join(ratios)}." if ratios else ""
    return ["\n".join([*lines, "", said, ""])]


def _held(held: Held) -> list[str]:
    each = (held.during - held.before) * held.workers / held.connections
    lines = [
        f"### {held.connections:,} idle connections\n",
        f"Logged in inside TLS, opened in {held.seconds:.0f} s, over {held.workers} worker"
        f"{'s' if held.workers > 1 else ''}. The largest worker had {held.before / 1e6:.0f} MB "
        f"before and **{held.during / 1e6:.0f} MB** while they were held: {each / 1024:.0f} KB a "
        "connection. The base load meanwhile:\n",
        "| connections held | messages/s | CPU-s per 1,000 | ack p99 ms |",
        "|---|---|---|---|",
    ]
    for number, runs in ((0, held.without), (held.connections, held.while_held)):
        lines.append(
            f"| {number:,} | {spread([run.rate for run in runs])} "
            f"| {spread([run.cpu_per_1000 for run in runs])} "
            f"| {spread([run.p99 for run in runs])} |"
        )
    return ["\n".join([*lines, ""])]


def _levels(levels: list[Level]) -> list[str]:
    first = levels[0]
    lines = [
        "| level | messages/s | against the first | CPU-s per 1,000 | against the first "
        "| memory MB |",
        "|---|---|---|---|---|---|",
    ]
    dearest, slowest = 1.0, 1.0
    for level in levels:
        rate = median(level.runs, "rate") / median(first.runs, "rate")
        cpu = median(level.runs, "cpu_per_1000") / median(first.runs, "cpu_per_1000")
        dearest, slowest = max(dearest, cpu), min(slowest, rate)
        note = f" ({level.note})" if level.note else ""
        lines.append(
            f"| {level.label}{note} | {spread([run.rate for run in level.runs])} | {rate:.2f} "
            f"| {spread([run.cpu_per_1000 for run in level.runs])} | {cpu:.2f} "
            f"| {max(run.memory for run in level.runs) / 1e6:.0f} |"
        )
    flat = dearest <= 1 + _FLAT and slowest >= 1 - _FLAT
    said = (
        f"{'Flat' if flat else 'NOT flat'} within {_FLAT:.0%}: at most {dearest:.2f} times the "
        f"CPU, at least {slowest:.2f} times the rate."
    )
    return ["\n".join([*lines, "", said, ""])]

"""The table as bars: one PNG for each figure. Needs matplotlib; without it there are no plots."""

import importlib.util
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.report import by_row
from bench.results import Matrix
from bench.run import Run

_FIGURES: dict[str, tuple[str, Callable[[Run], float]]] = {
    "rate": ("messages per second, end to end (more is better)", lambda run: run.rate),
    "cpu": ("CPU-seconds per 1,000 messages (less is better)", lambda run: run.cpu_per_1000),
    "p99": ("99th percentile of acknowledgement, ms (less is better)", lambda run: run.p99),
}
_COLOURS = {
    "relay": "#1b6ca8",
    "relay, 1 worker": "#7fb3d5",
    "Postfix with OpenDKIM": "#c0392b",
    "Postfix, not signing": "#e6a49b",
    "Haraka with DKIM": "#7d9b3f",
}


def missing() -> str:
    """What to install; empty where nothing lacks."""
    if importlib.util.find_spec("matplotlib"):
        return ""
    return "matplotlib is not installed, so no plots are made: pip install -e '.[bench]'"


def draw(matrix: Matrix, directory: Path) -> list[Path]:
    """One file for each figure, in `directory`."""
    import matplotlib as mpl  # noqa: PLC0415  # an extra; the benchmark runs without it

    mpl.use("Agg")
    directory.mkdir(exist_ok=True)
    return [_draw(matrix, name, directory / f"{name}.png") for name in _FIGURES]


def _draw(matrix: Matrix, name: str, path: Path) -> Path:
    from matplotlib import pyplot  # noqa: PLC0415  # as in draw
    from matplotlib.patches import Patch  # noqa: PLC0415  # as in draw

    title, value = _FIGURES[name]
    found = by_row(matrix)
    rows = list(dict.fromkeys(row for row, _ in found))
    systems = [known for known in _COLOURS if known in dict.fromkeys(system for _, system in found)]
    figure, axes = pyplot.subplots(figsize=(9, 3.6), dpi=90)
    for row_number, row in enumerate(rows):
        there = [system for system in systems if (row, system) in found]
        for number, system in enumerate(there):
            place = row_number + (number - (len(there) - 1) / 2) * 0.16
            _bar(axes, place, [value(run) for run in found[row, system]], system)
    axes.set_xticks(range(len(rows)), rows)
    axes.set_yscale("log")
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    handles = [Patch(color=_COLOURS[system]) for system in systems]
    axes.legend(
        handles, systems, fontsize=8, ncols=len(systems), frameon=False,
        loc="upper center", bbox_to_anchor=(0.5, -0.1),
    )  # fmt: skip
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)
    return path


def _bar(axes: Any, place: float, values: list[float], system: str) -> None:
    middle = statistics.median(values)
    axes.bar(place, middle, width=0.15, color=_COLOURS[system])
    if len(values) > 1:
        axes.vlines(place, min(values), max(values), color="#333333", linewidth=1)

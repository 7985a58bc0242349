"""The table as bars: one PNG for each figure. Needs matplotlib; without it there are no plots."""

import importlib.util
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.report import by_row
from bench.results import Matrix
from bench.run import Run
from bench.words import digits

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
    """A panel for each row, each with a scale of its own that begins at zero."""
    from matplotlib import pyplot  # noqa: PLC0415  # as in draw
    from matplotlib.patches import Patch  # noqa: PLC0415  # as in draw

    title, value = _FIGURES[name]
    found = by_row(matrix)
    rows = list(dict.fromkeys(row for row, _ in found))
    systems = [system for system in _COLOURS if any(there == system for _, there in found)]
    figure, panels = pyplot.subplots(
        1, len(rows), figsize=(1.55 * len(rows) + 0.5, 2.9), dpi=90, squeeze=False
    )
    for row, axes in zip(rows, panels[0], strict=True):
        there = [system for system in systems if (row, system) in found]
        for number, system in enumerate(there):
            _bar(axes, number, [value(run) for run in found[row, system]], system)
        axes.set_title(row, fontsize=8)
        axes.set_xticks([])
        axes.tick_params(axis="y", labelsize=7)
        axes.margins(y=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=9)
    handles = [Patch(color=_COLOURS[system]) for system in systems]
    figure.legend(
        handles, systems, fontsize=7, ncols=len(systems), frameon=False, loc="lower center"
    )
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path)
    pyplot.close(figure)
    return path


def _bar(axes: Any, place: float, values: list[float], system: str) -> None:
    middle = statistics.median(values)
    axes.bar(place, middle, width=0.85, color=_COLOURS[system])
    axes.annotate(
        f"{middle:.{digits(values)}f}", (place, middle), xytext=(0, 2),
        textcoords="offset points", ha="center", fontsize=6,
    )  # fmt: skip
    if len(values) > 1:
        axes.vlines(place, min(values), max(values), color="#333333", linewidth=1)

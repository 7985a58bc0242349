"""Figures as words of a table."""

import statistics

from bench.run import Run


def median(runs: list[Run], field: str) -> float:
    """The median of one figure over the runs."""
    return float(statistics.median(getattr(run, field) for run in runs))


def spread(values: list[float]) -> str:
    """The median, and the range where there is one."""
    middle = f"{statistics.median(values):.{digits(values)}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits(values)}f}–{max(values):.{digits(values)}f})"


def digits(values: list[float]) -> int:
    """As many decimals as three figures need."""
    middle = statistics.median(values)
    return 0 if middle >= 100 else 1 if middle >= 10 else 2

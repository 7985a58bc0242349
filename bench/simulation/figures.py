"""What a simulation shows, as numbers. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil


def most_in_window(moments: Sequence[float], span: float) -> int:
    """The most of sorted `moments` within any `span` seconds, the end of them, to the millisecond,
    not included."""
    most = start = 0
    for end, moment in enumerate(moments):
        while moments[start] <= moment - span + 0.001:
            start += 1
        most = max(most, end - start + 1)
    return most


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest of `values` that so large a share of them does not exceed."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, ceil(len(ordered) * share) - 1)]


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness: 1 where all have the same, 1/n where one has everything."""
    if not shares or not any(shares):
        raise ValueError("nothing was shared")
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def per_interval(moments: Iterable[float], seconds: float, until: float) -> list[int]:
    """How many of `moments` lie in each interval from 0 on."""
    counts = [0] * (int(until // seconds) + 1)
    for moment in moments:
        if moment <= until:
            counts[int(moment // seconds)] += 1
    return counts


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def by_set(latencies: Mapping[str, Sequence[float]]) -> list[tuple[str, int, str, str, str]]:
    """Rows: a name, how many, and median, 99th percentile and worst in seconds."""
    return [
        (
            name,
            len(values),
            *(f"{percentile(values, share):.2f}" for share in (0.5, 0.99, 1.0)),
        )
        for name, values in latencies.items()
    ]

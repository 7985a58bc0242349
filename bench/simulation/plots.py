"""What the scenarios show, as pictures: one PNG for each. Needs matplotlib."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.simulation import blocked, fairness, limits, recovery, warmup
from bench.simulation.figures import per_interval

_BLUE, _RED, _GREEN, _GREY = "#1b6ca8", "#c0392b", "#7d9b3f", "#888888"
_HOUR, _DAY = 3600.0, 86_400.0


@contextmanager
def _figure(path: Path, rows: int = 1, height: float = 3.2) -> Iterator[Any]:
    """Axes to draw on, one below the other; saved at the end."""
    import matplotlib as mpl  # noqa: PLC0415  # an extra; the scenarios run without it

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415  # as above

    figure, axes = pyplot.subplots(rows, 1, figsize=(9, height * rows), squeeze=False)
    yield [row[0] for row in axes]
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    # Without the date and the version, so that the same run gives the same file.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def draw_limits(outcome: limits.Outcome, path: Path) -> None:
    """Recipients an hour that each provider took."""
    with _figure(path) as (axes,):
        until = outcome.days * _DAY
        for (name, moments), colour in zip(
            outcome.moments.items(), (_BLUE, _RED, _GREEN), strict=True
        ):
            counts = per_interval(moments, _HOUR, until)[:-1]
            axes.step(range(len(counts)), counts, where="post", color=colour, label=name)
        axes.set(
            xlabel="hours",
            ylabel="recipients an hour",
            title="What each provider took, both sources",
        )
        axes.legend()


def draw_fairness(
    alone: fairness.Latencies,
    beside: fairness.Latencies,
    sharing: fairness.Sharing,
    path: Path,
) -> None:
    """Latencies of transactional mail with and without a campaign, and the shares of equals."""
    with _figure(path, rows=2) as (latencies, shares):
        for found, colour, label in (
            (alone, _GREY, "without a campaign"),
            (beside, _BLUE, "beside a campaign"),
        ):
            values = sorted(
                value for name in fairness.TRANSACTIONAL for value in found.by_set[name]
            )
            upwards = [(number + 1) / len(values) for number in range(len(values))]
            latencies.plot(values, upwards, color=colour, label=label)
        latencies.set(
            xscale="log",
            xlabel="seconds from acceptance to the provider (log)",
            ylabel="share of messages",
            title="Transactional mail",
        )
        latencies.legend()
        shares.bar(list(sharing.shares), list(sharing.shares.values()), color=_BLUE)
        shares.set(
            ylabel="recipients",
            title=f"Equal campaigns at one source of 20/s: Jain's index {sharing.index:.3f}",
        )


def draw_warmup(outcome: warmup.Outcome, path: Path) -> None:
    """What the new address sent on each day, against its plan, and what the warm one did."""
    with _figure(path) as (axes,):
        until = max(map(max, outcome.sent.values()))
        new = per_interval(outcome.sent[warmup.NEW], _DAY, until)
        warm = per_interval(outcome.sent[warmup.WARM], _DAY, until)
        axes.bar(range(1, len(new) + 1), new, color=_BLUE, label="sent from the new address")
        axes.plot(range(1, len(warm) + 1), warm, color=_GREY, label="sent from the warm address")
        planned = range(1, len(outcome.planned) + 1)
        axes.plot(planned, outcome.planned, color=_RED, label="plan")
        axes.set(xlabel="day", ylabel="recipients", title="A new address beside a warm one")
        axes.legend()


def draw_recovery(outcome: recovery.Outcome, path: Path) -> None:
    """What was offered and taken in each minute."""
    with _figure(path) as (axes,):
        minutes = range(len(outcome.offered))
        axes.plot(minutes, outcome.offered, color=_RED, linewidth=0.8, label="offered")
        axes.plot(minutes, outcome.taken, color=_BLUE, linewidth=0.8, label="taken")
        axes.axhline(outcome.allowed, color=_GREY, linestyle=":", label="what the provider takes")
        axes.set(
            xlabel="minutes",
            ylabel="recipients a minute",
            title="A provider that takes less than we were told",
            ylim=(0, outcome.allowed * 3),
        )
        axes.legend()


def draw_blocked(outcome: blocked.Outcome, path: Path) -> None:
    """Which source sent how much to each provider."""
    with _figure(path, rows=2, height=2.8) as panels:
        for axes, provider in zip(panels, ("north", "south"), strict=True):
            for source, colour in zip(
                (blocked.FIRST, blocked.SECOND, blocked.THIRD),
                (_RED, _BLUE, _GREEN),
                strict=True,
            ):
                counts = per_interval(outcome.sent(source, provider), 600.0, outcome.until)[:-1]
                hours = [number / 6 for number in range(len(counts))]
                axes.step(hours, counts, where="post", color=colour, label=source)
            start, end = (moment / _HOUR for moment in outcome.blocked)
            axes.axvspan(start, end, color=_GREY, alpha=0.2)
            axes.set(ylabel="taken in 10 min", title=f"{provider}")
            axes.legend(loc="upper right")
        panels[0].set_title(f"north, which blocks {blocked.FIRST} for a while")
        panels[1].set_xlabel("hours")

"""Play the scenarios at length: `python -m bench.simulation` writes SIMULATION.md and its plots.

python -m bench.simulation                   all: some minutes
python -m bench.simulation --only warmup     one of them, printed, and its plot
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from bench.plots import missing
from bench.simulation import blocked, fairness, limits, page, plots, recovery, warmup
from bench.simulation.clock import run

_HERE = Path(__file__).parent
_PLOTS = _HERE / "plots"
_PAGE = _HERE.parent / "SIMULATION.md"


def _limits(draws: bool) -> str:
    outcome = run(limits.play(days=0.5, blast=300))
    if draws:
        plots.draw_limits(outcome, _PLOTS / "limits.png")
    return page.limits_section(outcome)


def _fairness(draws: bool) -> str:
    alone = run(fairness.transactional(0, 300.0))
    beside = run(fairness.transactional(20_000, 300.0))
    sharing = run(fairness.equals(1_000))
    if draws:
        plots.draw_fairness(alone, beside, sharing, _PLOTS / "fairness.png")
    return page.fairness_section(alone, beside, sharing)


def _warmup(draws: bool) -> str:
    outcome = run(warmup.play(days=45, first=10, target=500, demand=650, last=48.0))
    if draws:
        plots.draw_warmup(outcome, _PLOTS / "warmup.png")
    return page.warmup_section(outcome)


def _recovery(draws: bool) -> str:
    outcome = run(recovery.play(allowed=60, hours=2.5))
    if draws:
        plots.draw_recovery(outcome, _PLOTS / "recovery.png")
    return page.recovery_section(outcome)


def _blocked(draws: bool) -> str:
    outcome = run(blocked.play(hours=24.0, blocked=(4.0, 12.0), each=15.0))
    if draws:
        plots.draw_blocked(outcome, _PLOTS / "blocked.png")
    return page.blocked_section(outcome)


_SCENARIOS: dict[str, Callable[[bool], str]] = {
    "limits": _limits,
    "fairness": _fairness,
    "warmup": _warmup,
    "recovery": _recovery,
    "blocked": _blocked,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Days of delivering, simulated.")
    parser.add_argument("--only", choices=_SCENARIOS, help="one scenario; the page stays as it is")
    given = parser.parse_args()
    lacking = missing()
    if lacking:
        print(lacking)
    began = time.monotonic()
    sections = []
    for name, play in _SCENARIOS.items():
        if given.only in (None, name):
            started = time.monotonic()
            sections.append(play(not lacking))
            print(f"{sections[-1]}\n({name}: {time.monotonic() - started:.0f} s)", flush=True)
    if not given.only:
        _PAGE.write_text(page.HEAD.format(seconds=time.monotonic() - began) + "".join(sections))


if __name__ == "__main__":
    main()

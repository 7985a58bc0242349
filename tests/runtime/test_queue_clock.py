"""The clock of the queue: what drifts passes, what jumps does not."""

from hypothesis import given
from hypothesis import strategies as st

from relay.runtime.queue_clock import JUMP_MS, QueueClock
from relay.runtime.shared_time import Timekeeping
from tests.contract.making import make_new

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


class Host:
    """A host whose two clocks can be moved."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.wall_ms = 1_800_000_000_000
        self.jumps: list[float] = []
        self.clock = QueueClock(lambda: self.seconds, lambda: self.wall_ms, self.jumps.append)

    def passes(self, seconds: float, drift_ms: int = 0) -> None:
        self.seconds += seconds
        self.wall_ms += round(seconds * 1000) + drift_ms


def test_time_that_passes_is_wall_time() -> None:
    host = Host()
    host.passes(3_600)
    assert host.clock.now() == host.wall_ms
    assert host.jumps == []


def test_a_correction_of_seconds_is_followed() -> None:
    host = Host()
    host.passes(1, drift_ms=-JUMP_MS)
    assert host.clock.now() == host.wall_ms


def test_a_day_forward_does_not_age_the_queue() -> None:
    host = Host()
    before = host.clock.now()
    host.passes(1, drift_ms=DAY_MS)
    assert host.clock.now() == before + 1_000
    assert host.jumps == [86_400.0]


def test_a_day_back_does_not_freeze_the_queue_and_forward_again_mends_it() -> None:
    host = Host()
    before = host.clock.now()
    host.passes(1, drift_ms=-DAY_MS)
    assert host.clock.now() == before + 1_000
    host.passes(1, drift_ms=DAY_MS)
    assert host.clock.now() == host.wall_ms


@given(st.lists(st.tuples(st.floats(0, 1_000), st.integers(-DAY_MS, DAY_MS)), max_size=30))
def test_the_clock_never_runs_faster_or_slower_than_corrections_allow(
    steps: list[tuple[float, int]],
) -> None:
    host = Host()
    now = host.clock.now()
    for seconds, drift in steps:
        host.passes(seconds, drift)
        later = host.clock.now()
        assert abs((later - now) - seconds * 1000) <= JUMP_MS + 1
        now = later


def test_in_a_fleet_the_wall_clock_of_a_node_decides_nothing() -> None:
    host = Host()
    host.clock.follow(Timekeeping(host.seconds, host.wall_ms - HOUR_MS))
    before = host.clock.now()
    host.passes(1, drift_ms=-DAY_MS)
    assert host.clock.now() == before + 1_000
    assert host.jumps == []


def test_what_is_dated_by_the_time_of_the_fleet_is_queued_as_it_is() -> None:
    host = Host()
    host.clock.follow(Timekeeping(host.seconds, host.wall_ms - HOUR_MS))
    new = make_new("a@x.test", due_at=host.clock.date())
    assert host.clock.in_queue_time(new) is new
    assert new.due_at == host.clock.now()


def test_what_is_kept_by_the_day_goes_by_the_wall_clock_and_in_a_fleet_by_the_shared_one() -> None:
    host = Host()
    host.passes(1, drift_ms=DAY_MS)
    assert host.clock.date() == host.wall_ms
    host.clock.follow(Timekeeping(host.seconds, host.wall_ms - HOUR_MS))
    assert host.clock.date() == host.clock.now() == host.wall_ms - HOUR_MS

"""The time of the store, as a node carries it on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime.shared_time import SharedTime, Timekeeping, corrected
from relay.store.alone import Alone
from relay.store.interface import StoreUnavailable
from tests.delivery.outgoing import Lines

NOW = 1_800_000_000_000
HOUR_MS = 3_600_000


def test_the_first_answer_is_taken_whatever_the_host_thinks() -> None:
    known = corrected(None, 10.0, 10.2, NOW)
    assert known.time(10.2) == NOW + 100
    assert known.time(70.2) == NOW + 60_100


def test_an_answer_that_may_be_ours_corrects_nothing() -> None:
    known = corrected(None, 10.0, 10.2, NOW)
    assert corrected(known, 11.0, 11.3, NOW + 1_000) is known


def test_a_slow_answer_is_believed_no_further_than_it_goes() -> None:
    known = Timekeeping(0.0, NOW)
    found = corrected(known, 10.0, 13.0, NOW + 12_000)
    assert found is known
    found = corrected(known, 10.0, 13.0, NOW + 14_000)
    assert found.time(13.0) == NOW + 14_000


def test_a_host_that_slept_is_right_at_once() -> None:
    known = Timekeeping(0.0, NOW)
    found = corrected(known, 10.0, 10.0, NOW + HOUR_MS)
    assert found.time(10.0) == NOW + HOUR_MS


def test_a_server_whose_clock_is_behind_makes_no_time_come_twice_and_no_mail_wait_for_an_hour() -> (
    None
):
    known = Timekeeping(0.0, NOW)
    found = corrected(known, 10.0, 10.0, NOW + 10_000 - HOUR_MS)
    assert found.time(10.0) == NOW + 10_000
    assert found.time(20.0) == NOW + 19_000, "a tenth slower"
    assert found.time(10.0 + 36_000) == round(found.standard(10.0 + 36_000)), "until it is right"


@given(
    st.lists(
        st.tuples(st.floats(0, 3_600), st.floats(0, 5), st.integers(-HOUR_MS, HOUR_MS)), max_size=20
    )
)
def test_time_never_goes_back_and_ends_up_right_whatever_the_server_says(
    answers: list[tuple[float, float, int]],
) -> None:
    now, last, known = 0.0, 0, None
    for pause, took, off in answers:
        asked, now = now + pause, now + pause + took
        reading = NOW + round(asked * 1000) + off
        if known is not None:
            assert known.time(now) >= last - 1
            last = known.time(now)
        known = corrected(known, asked, now, reading)
        assert reading - 1 <= known.standard(now) <= reading + took * 1000 + 1
        assert known.time(now) >= last - 1
        last = known.time(now)


class Server(Alone):
    """A store with a clock, and at times without an answer."""

    now = NOW
    away = False

    async def clock(self) -> int:
        if self.away:
            raise StoreUnavailable("away")
        return self.now


async def test_a_host_whose_clock_is_off_is_told_of_once_and_again_when_it_is_right() -> None:
    server, metrics, lines = Server(), Metrics(), Lines()
    wall, seconds, followed = NOW + HOUR_MS, 100.0, list[Timekeeping]()
    time = SharedTime(
        server,
        followed.append,
        metrics,
        make_logger("json", "info", lines),  # type: ignore[arg-type]
        wall=lambda: wall,
        monotonic=lambda: seconds,
    )
    server.away = True
    with pytest.raises(StoreUnavailable):
        await time.ask()
    server.away = False
    for _ in range(2):
        await time.look()
    assert followed == [Timekeeping(seconds, NOW)] == [time.known]
    assert metrics.registry.get_sample_value("relay_fleet_clock_offset_seconds") == 3_600
    assert str(lines).count("is not that of the store") == 1

    wall, server.away = NOW, True
    await time.look()
    assert "right again" not in str(lines)
    server.away = False
    await time.look()
    assert "right again" in str(lines)

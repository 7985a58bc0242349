"""Times in events are those of SES, whatever a report says."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.events.times import iso


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_790_000_000_118, "2026-09-21T14:13:20.118Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (10**30, "9999-12-31T23:59:59.999Z"),
        (-(10**30), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_written_with_milliseconds_in_utc(at: int, written: str) -> None:
    assert iso(at) == written


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_is_read_again_as_it_was(at: int) -> None:
    moment = datetime.fromisoformat(iso(at))
    assert round(moment.timestamp() * 1_000) == at

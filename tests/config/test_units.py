"""Rates, quotas, sizes and times are read as people write them, or refused with what is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.units import Rate, parse_duration, parse_quota, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "rate", "shown"),
    [
        ("50/s", Rate(50, 1), "50/s"),
        ("3,000/min", Rate(3000, 60), "3,000/min"),
        ("1_000 / h", Rate(1000, 3600), "1,000/h"),
        ("100000/day", Rate(100_000, 86400), "100,000/day"),
        ("2/Second", Rate(2, 1), "2/s"),
    ],
)
def test_a_rate_is_a_count_and_a_period(text: str, rate: Rate, shown: str) -> None:
    assert parse_rate(text) == rate
    assert str(rate) == shown


@pytest.mark.parametrize("value", ["0/s", "50", "50/y", "-1/s", "1.5/s", "/s", "", None, 50, True])
def test_what_is_no_rate_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="allowed is a rate"):
        parse_rate(value)


def test_a_quota_is_counted_in_a_day() -> None:
    assert parse_quota("100,000/day") == parse_quota("100000") == parse_quota(100_000) == 100_000
    for value in ("5/s", "0", "", None, True, 0, -1):
        with pytest.raises(ValueError, match="allowed is a number of recipients in 24 hours"):
            parse_quota(value)


def test_a_size_counts_in_thousands_or_in_powers_of_two() -> None:
    assert parse_size("40MB") == 40_000_000
    assert parse_size("64KiB") == 65_536
    assert parse_size("1.5 kb") == 1_500
    assert parse_size("10") == parse_size(10) == 10
    for value in ("40 parsecs", "-1", "", None, True, 1.5):
        with pytest.raises(ValueError, match="allowed is a size"):
            parse_size(value)


def test_a_time_has_its_unit() -> None:
    assert parse_duration("1h30m") == 5400
    assert parse_duration("300ms") == pytest.approx(0.3)
    assert parse_duration("4 d") == 4 * 86400
    for value in ("300", 300, "1h30", "h", "1 fortnight", "", None):
        with pytest.raises(ValueError, match="allowed is a time"):
            parse_duration(value)


@pytest.mark.parametrize("parse", [parse_rate, parse_quota, parse_size, parse_duration])
@given(text=st.from_regex(r"\A\d{1,400}(\.\d)?(/s|/day|GB|d|)\Z"))
def test_no_number_is_too_large_to_be_refused(parse, text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        told = str(error)
    else:
        told = "allowed is it"

    assert told.startswith("allowed is")

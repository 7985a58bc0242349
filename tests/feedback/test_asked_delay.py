"""How long a peer asks us to wait, by its own words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.asked_delay import LEAST, MOST, asked_delay


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted, try again in 300 seconds", 300),
        ("Recipient address rejected: Greylisted for 300 seconds (see http://example/)", 300),
        ("Greylisting in action, please come back in 00:05:00", 300),
        ("Greylisted for 5 minutes (1)", 300),
        ("please retry after 2 hours", 7200),
        ("wait 90s", 90),
        ("try again in at least 15 min", 900),
        ("Retry-After: 120", 120),
        ("try again in 1 second", LEAST),
        ("try again in 99999 hours", MOST),
    ],
)
def test_a_delay_that_is_named_is_read_within_bounds(text: str, seconds: float) -> None:
    assert asked_delay(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "Greylisted, please try again later",
        "see http://example.net/for/300/seconds",
        "4.7.1 retry 4.7.1",
        "rejected after 3 attempts",
        "listed in 4 blocklists",
    ],
)
def test_what_names_no_delay_is_not_taken_for_one(text: str) -> None:
    assert asked_delay(text) is None


@given(st.text(max_size=512))
def test_any_text_gives_nothing_or_a_delay_within_bounds(text: str) -> None:
    found = asked_delay(text)
    assert found is None or LEAST <= found <= MOST

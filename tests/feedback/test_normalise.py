"""Replies without what differs each time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.normalise import NORMAL_CHARACTERS, normalised, without_addresses
from relay.mail.replies import Reply


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("wibble 17 for bob@example.org", "wibble 99 for <eve@example.com>"),
        ("from 192.0.2.1 no", "from 198.51.100.77 no"),
        ("from 2001:db8::1 no", "from 2001:db8:ffff::1 no"),
        ("no (id=4f3a9c queue 12-ab9)", "no (id=77bb01 queue 98-zz1)"),
        ("see https://example.org/help?id=1", "see https://example.org/other?id=2"),
        ("Wibble", "wibble"),
    ],
)
def test_what_differs_each_time_makes_no_difference(one: str, other: str) -> None:
    assert normalised(Reply(550, "", one)).replace("<<", "<").replace(">>", ">") == normalised(
        Reply(550, "", other)
    ).replace("<<", "<").replace(">>", ">")


def test_the_codes_stay() -> None:
    assert normalised(Reply(550, "5.7.1", "no 1 2 3 more")) == "550 5.7.1 no # more"
    assert normalised(Reply(550, "", "")) == "550"


@given(st.text(max_size=800), st.integers(400, 599))
def test_it_is_bounded_and_repeatable(text: str, code: int) -> None:
    found = normalised(Reply(code, "", text))
    assert len(found) <= NORMAL_CHARACTERS
    assert found == normalised(Reply(code, "", text))


@given(st.emails(), st.text(alphabet="abc <>:", max_size=20))
def test_an_example_names_nobody(address: str, words: str) -> None:
    assert address not in without_addresses(f"{words} <{address}> {words}")


@pytest.mark.parametrize("text", ["a" * 5000, "1:" * 2500, "a@" * 2500, "1." * 2500, "# " * 2500])
def test_a_hostile_text_takes_no_time(text: str) -> None:
    start = time.perf_counter()
    normalised(Reply(550, "", text))
    assert time.perf_counter() - start < 0.1

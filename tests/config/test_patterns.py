"""Expressions that a stranger's text is searched with: allowed ones are searched in short time."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.config.patterns import MOST_CHARACTERS, parse_pattern


@pytest.mark.parametrize(
    "text",
    [
        r"gr[ea]y-?\s?list",
        r"\[(?:TS|TSS)0[1-9]\]",
        r"too many (?:open |concurrent )?connections",
        r"client host \[?\S{1,45} blocked using",
        r"^IP=.*reputation",
        r"a{3}b{,5}c{2,}",
        r"[]a^-]+",
        r"x{",
        r"\d+?",
    ],
)
def test_what_people_write_of_replies_is_allowed(text: str) -> None:
    assert parse_pattern(text) == text


@pytest.mark.parametrize(
    "text",
    [r"(a+)+b", r"(?:a|a)*b", r"(\w*\s*)*$", r".*a.*b", r"(?:a{1,50}){1,50}", r"(?:a?){30}b"],
)
def test_an_expression_that_can_match_in_too_many_ways_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write \.\{0,40\} instead of \.\*"):
        parse_pattern(text)


@pytest.mark.parametrize("text", [r"(?=a)b", r"(?i)a", r"(?P<x>a)", r"(?<!a)b"])
def test_groups_of_any_other_kind_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"groups \( \) and \(\?: \) only"):
        parse_pattern(text)


@pytest.mark.parametrize("text", [r"(a)\1", r"a\Z"])
def test_references_back_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is an expression without"):
        parse_pattern(text)


def test_what_is_no_expression_is_refused_with_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="unterminated character set"):
        parse_pattern("[a")


def test_a_very_long_expression_is_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {MOST_CHARACTERS}"):
        parse_pattern("a" * (MOST_CHARACTERS + 1))


_PIECES = st.lists(
    st.sampled_from(["a", "b", ".", "[ab]", "(", "(?:", ")", "|", "?", "*", "+", "{0,9}", "{2}"]),
    max_size=14,
).map("".join)


@given(_PIECES, st.text("ab", min_size=512, max_size=512))
@settings(max_examples=300, deadline=None)
def test_whatever_is_allowed_is_searched_in_less_than_two_seconds(text: str, said: str) -> None:
    try:
        parse_pattern(text)
    except ValueError:
        return
    began = time.process_time()
    re.search(text, said)
    assert time.process_time() - began < 2.0

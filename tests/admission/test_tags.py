"""Message tags are read leniently: what is no tag is left out, and the mail goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.admission.tags import MAXIMUM_TAGS, parse_tags

TABLE = [
    ("campaign=spring", (("campaign", "spring"),)),
    ("a=1, b=2,c=3", (("a", "1"), ("b", "2"), ("c", "3"))),
    ("  a = 1 ,\tb=2 ", (("a", "1"), ("b", "2"))),
    ("a=1, a=2", (("a", "1"),)),
    ("a=1, broken, =x, y=, b=2", (("a", "1"), ("b", "2"))),
    ("grüße=1, a=ü, b=2", (("b", "2"),)),
    ("a=1=2, b=x y, c=3", (("c", "3"),)),
    ("a=" + "x" * 256, (("a", "x" * 256),)),
    ("a=" + "x" * 257, ()),
    ("", ()),
    (",,,", ()),
]


@pytest.mark.parametrize(("value", "tags"), TABLE)
def test_tags_are_read_and_what_is_none_is_left_out(value, tags):
    assert parse_tags(value) == tags


def test_there_are_fifty_tags_at_most():
    assert len(parse_tags(",".join(f"t{i}=v" for i in range(1_000)))) == MAXIMUM_TAGS


@given(st.text())
def test_no_value_is_too_odd_and_every_tag_has_the_allowed_form(value):
    for name, text in parse_tags(value):
        assert (name + text).replace("-", "a").replace("_", "a").isalnum()
        assert (name + text).isascii()

"""The addresses in a From: all of them or none, whatever stands around them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.mailboxes import entries, mailboxes

UNDERSTOOD = {
    "a@B.c": ["a@b.c"],
    "  a@b.c  ": ["a@b.c"],
    "<a@b.c>": ["a@b.c"],
    "Jo Doe <jo.doe@Example.COM>": ["jo.doe@example.com"],
    "Jo <a@b.c> ": ["a@b.c"],
    '"Doe, Jo" <a@b.c>': ["a@b.c"],
    '"Jo \\"J\\" Doe" <a@b.c>': ["a@b.c"],
    '"x@y.z" <a@b.c>': ["a@b.c"],
    '"<x@y.z>," <a@b.c>': ["a@b.c"],
    "a@b.c <a@b.c>": ["a@b.c"],
    " A@B.c\t<a@b.c>": ["a@b.c"],
    "Jo @ Work <a@b.c>": ["a@b.c"],
    "Jo @work <a@b.c>": ["a@b.c"],
    "Jo D. Doe <a@b.c>": ["a@b.c"],
    'Jo "J" Doe <a@b.c>': ["a@b.c"],
    "=?utf-8?q?=3Cx=40y=2Ez=3E?= <a@b.c>": ["a@b.c"],
    "J\u00fcrgen <a@b.c>": ["a@b.c"],
    "a@b.c (Jo (the) Doe \\) <x@y.z>)": ["a@b.c"],
    "(hello) Jo <a@b.c>": ["a@b.c"],
    "Jo <a@b.c(x)>": ["a@b.c"],
    "a@b.c, Jo <d@e.f>": ["a@b.c", "d@e.f"],
    "a@b.c,,d@e.f,": ["a@b.c", "d@e.f"],
    "friends: a@b.c, Jo <d@e.f>;": ["a@b.c", "d@e.f"],
    "friends: a@b.c;, others: d@e.f;, g@h.i": ["a@b.c", "d@e.f", "g@h.i"],
    "undisclosed-recipients:;": [],
    '"a b"@c.d': ['"a b"@c.d'],
    'Jo <"a>b"@c.d>': ['"a>b"@c.d'],
    "a@[192.0.2.1]": ["a@[192.0.2.1]"],
    "<@relay.example,@two.example:a@b.c>": ["a@b.c"],
    "Jo\r\n <a@b.c>": ["a@b.c"],
    "gr\u00fc\u00dfe@b\u00fccher.example": ["gr\u00fc\u00dfe@xn--bcher-kva.example"],
}

MALFORMED = (
    *("", " ", "Jo", "<>", "Jo <>", "a@", "@b.c", "<a>", "a b@c.d", "a@b c", "a@b.c d@e.f"),
    *("<a@b.c", "a@b.c>", "<<a@b.c>>", "<a@b.c> <d@e.f>", "<a@b.c> d@e.f", "<a@b.c> Jo"),
    *('"Jo <a@b.c>', 'Jo" <a@b.c>', "(Jo a@b.c", "a@b.c (Jo", "a@b.c)", "Jo \\ <a@b.c>"),
    *("a@b.c; d@e.f", "a@b.c:d@e.f;", "x: a@b.c", ": a@b.c;", "x: y: a@b.c;;", "a@b.c;"),
    *("x@y.z <a@b.c>", "Jo x@y.z <a@b.c>", "a@b.c, x@y.z <a@b.c>", '"x"@y.z <a@b.c>'),
    *("a@b..c", ".a@b.c", "a@b_c.d", "a@b.c:25", "a@b@c.d", "<a@b.c\0>", "a\x1b@b.c", "a\n@b.c"),
    *("a@b.c, Jo", "a@b.c, <d", "Jo <a@b.c>, x y@z.z", "=?utf-8?q?a=40b.c?=", "\ud800@b.c"),
)


@pytest.mark.parametrize(("value", "addresses"), UNDERSTOOD.items())
def test_the_addresses_are_found_among_names_comments_and_groups(
    value: str, addresses: list[str]
) -> None:
    assert mailboxes(value) == addresses


@pytest.mark.parametrize("value", MALFORMED)
def test_a_value_that_is_not_understood_whole_yields_no_address(value: str) -> None:
    assert mailboxes(value) == []


@given(st.one_of(st.text(), st.text('<>@."\\[]():;, a\r\n\t')))
def test_no_value_raises_and_what_is_found_is_found_again(value: str) -> None:
    for address in mailboxes(value):
        assert mailboxes(f"<{address}>") == [address]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "Jo ", '"a, <b@c.d>" ', "(c(d)) ", "\u00fc x. "]),
            st.sampled_from(["a@b.c", '"q, <"@b.c', "a@[192.0.2.1]"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_lists_are_taken_apart_at_their_own_commas_only(some: list[tuple[str, str]]) -> None:
    written = [f"{name}<{address}>" for name, address in some]
    assert mailboxes(", ".join(written)) == [address for _, address in some]
    assert entries(", ".join(written)) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", []),
        (" , ", []),
        ("a@b.c", ["a@b.c"]),
        ("Jo <a@b.c>,x@y.z", ["Jo <a@b.c>", "x@y.z"]),
        ("friends: a@b.c, d@e.f;, x@y.z", ["friends: a@b.c, d@e.f;", "x@y.z"]),
        ("<@route,@two:a@b.c>, x@y.z", ["<@route,@two:a@b.c>", "x@y.z"]),
        (' a@b.c, "never closed', [' a@b.c, "never closed'.strip()]),
    ],
)
def test_entries_are_as_they_were_written(value: str, written: list[str]) -> None:
    assert entries(value) == written


@given(st.text(alphabet=st.sampled_from('ab@,;:"<>()\\ '), max_size=30))
def test_entries_lose_nothing_but_commas_and_space(value: str) -> None:
    lost = list(value)
    for letter in "".join(entries(value)):
        lost.remove(letter)
    assert set(lost) <= {",", " "}


@pytest.mark.parametrize(
    "value",
    [
        " " * 250_000,
        " " * 250_000 + "<a@b.c",
        '"' * 250_001,
        "(" * 250_000,
        "(a" * 100_000 + ")" * 100_000 + "a@b.c",
        "a@b.c," * 40_000,
        "<" * 250_000,
        "a " * 125_000,
        "a." * 125_000 + "@",
        "x:" * 125_000,
        "\\" * 250_000,
        "[" * 250_000,
    ],
)
def test_no_value_of_a_quarter_megabyte_takes_long(value: str) -> None:
    started = time.process_time()
    mailboxes(value)
    entries(value)
    assert time.process_time() - started < 3  # quadratic work would take minutes

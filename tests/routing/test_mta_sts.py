"""MTA-STS: what a domain may publish, and everything else is no policy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.routing.mta_sts import (
    LARGEST,
    LONGEST_MAX_AGE_S,
    MOST_MX,
    SHORTEST_MAX_AGE_S,
    PolicyError,
    StsPolicy,
    matches,
    parse_policy,
    record_id,
)

_GOOD = (
    b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n"
    b"max_age: 604800\r\n"
)


def test_a_policy_is_read_as_the_rfc_shows_it() -> None:
    assert parse_policy("example.com", "1", _GOOD) == StsPolicy(
        "example.com", "1", "enforce", ("mail.example.com", "*.example.net"), 604800
    )


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_may_end_in_either_way_and_the_last_one_need_not(end: bytes) -> None:
    lines = [b"version: STSv1", b"mode:testing", b"mx:  MX.Example.com  ", b"max_age: 86400"]
    policy = parse_policy("example.com", "1", end.join(lines))
    assert (policy.mode, policy.mx) == ("testing", ("mx.example.com",))


def test_unknown_keys_are_passed_over_and_the_first_of_a_key_counts() -> None:
    text = b"version: STSv1\nmode: none\nmode: enforce\nfuture_key: what you like: ()\nmax_age: 1\n"
    policy = parse_policy("example.com", "1", text)
    assert (policy.mode, policy.mx) == ("none", ())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "version"),
        (b"mode: enforce\nmx: a.test\nmax_age: 86400\n", "version"),
        (b"version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 86400\n", "version"),
        (b"version: STSv1\nmode: strict\nmx: a.test\nmax_age: 86400\n", "mode"),
        (b"version: STSv1\nmx: a.test\nmax_age: 86400\n", "mode"),
        (b"version: STSv1\nmode: enforce\nmax_age: 86400\n", "no mx"),
        (b"version: STSv1\nmode: enforce\nmx: 192.0.2.1\nmax_age: 86400\n", "host name"),
        (b"version: STSv1\nmode: enforce\nmx: *.*.a.test\nmax_age: 86400\n", "host name"),
        (b"version: STSv1\nmode: enforce\nmx: a.test\n", "max_age"),
        (b"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: soon\n", "max_age"),
        (b"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -1\n", "max_age"),
        (b"<html>not found</html>", "line 1"),
        (b"version: STSv1\nmode: \xff\n", "UTF-8"),
        (b"x" * (LARGEST + 1), "larger"),
        (b"version: STSv1\nmode: enforce\n" + b"mx: a.test\n" * (MOST_MX + 1), "more than"),
    ],
)
def test_what_is_not_well_formed_is_no_policy(text: bytes, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        parse_policy("example.com", "1", text)


@pytest.mark.parametrize(
    ("written", "kept"),
    [("0", SHORTEST_MAX_AGE_S), ("60", SHORTEST_MAX_AGE_S), ("9999999999", LONGEST_MAX_AGE_S)],
)
def test_the_time_for_which_a_policy_holds_is_bounded(written: str, kept: int) -> None:
    text = f"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: {written}\n".encode()
    assert parse_policy("a.test", "1", text).max_age == kept


@given(st.binary(max_size=400))
def test_no_octets_break_the_reader(octets: bytes) -> None:
    try:
        policy = parse_policy("example.com", "1", b"version: STSv1\n" + octets)
    except PolicyError:
        return
    assert policy.mode == "none" or policy.mx


@given(
    st.sampled_from(["enforce", "testing", "none"]),
    st.lists(
        st.from_regex(r"(\*\.)?[a-z]{1,8}\.[a-z]{2,5}", fullmatch=True), min_size=1, max_size=5
    ),
    st.integers(SHORTEST_MAX_AGE_S, LONGEST_MAX_AGE_S),
)
def test_a_policy_reads_back_from_its_own_strings(mode: str, mx: list[str], age: int) -> None:
    policy = StsPolicy("a.test", "1", mode, tuple(dict.fromkeys(mx)), age)  # type: ignore[arg-type]
    assert parse_policy("a.test", "1", "\n".join(policy.strings).encode()) == policy


@pytest.mark.parametrize(
    ("pattern", "host", "fits"),
    [
        ("mx.example.com", "mx.example.com", True),
        ("mx.example.com", "MX.Example.COM.", True),
        ("mx.example.com", "mx2.example.com", False),
        ("*.example.com", "mx.example.com", True),
        ("*.example.com", "a.mx.example.com", False),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("example.com", "mx.example.com", False),
        ("*.example.com", "mx.badexample.com", False),
    ],
)
def test_a_wildcard_stands_for_one_label(pattern: str, host: str, fits: bool) -> None:
    assert matches(pattern, host) is fits


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=1"], "1"),
        (["v=spf1 -all", "v=STSv1; id=2; more=thing"], "2"),
        (["v=STSv1; id=1;", "v=STSv1; id=1;"], None),
        (["v=STSv1;"], None),
        (["v=STSv1; id=not-alphanumeric;"], None),
        (["v=STSv1; id=" + "1" * 33], None),
        (["v=STSv10; id=1"], None),
        ([" v=STSv1; id=1"], None),
        (["v=STSv1; id=1; id=2"], None),
        (["v=STSv1; broken"], None),
        ([], None),
    ],
)
def test_one_record_announces_a_policy(texts: list[str], found: str | None) -> None:
    assert record_id(texts) == found


@given(st.lists(st.text(max_size=60), max_size=3))
def test_no_record_breaks_the_reader(texts: list[str]) -> None:
    found = record_id([f"v=STSv1;{text}" for text in texts])
    assert found is None or found.isalnum()

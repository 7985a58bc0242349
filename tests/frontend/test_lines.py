import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.frontend.lines import AUTH_LINE, COMMAND_LINE, BadLine, Lines


def take_all(lines: Lines) -> list[bytes | str]:
    """Lines, or the reasons for which they are none."""
    events: list[bytes | str] = []
    while True:
        try:
            line = lines.line()
        except BadLine as bad:
            events.append(bad.answer.reason)
            continue
        if line is None:
            return events
        events.append(line)


def events_of(octets: bytes, cuts: list[int]) -> list[bytes | str]:
    lines, events = Lines(), []
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        lines.feed(octets[start:end])
        events += take_all(lines)
    return events


@given(
    st.lists(
        st.sampled_from(
            [b"NOOP", b"\r\n", b"\n", b"\r", b"\0", b"RSET\r\n", b"A" * COMMAND_LINE, b"AUTH x"]
        ),
        max_size=12,
    ).map(b"".join),
    st.data(),
)
def test_any_cutting_of_the_same_octets_gives_the_same_lines(octets: bytes, data: st.DataObject):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    assert events_of(octets, cuts) == events_of(octets, [])


@given(st.lists(st.sampled_from([b"NOOP", b"\n", b"\r", b"\0", b"x" * 5_000]), max_size=8))
def test_there_is_one_event_for_each_crlf(parts: list[bytes]):
    line = b"".join(parts).replace(b"\r\n", b"\r.\n") + b"."
    assert len(events_of(line + b"\r\nNOOP\r\n", [])) == 2


def test_a_line_that_never_ends_is_answered_once_and_not_kept():
    lines, answers = Lines(), []
    for _ in range(100):
        lines.feed(b"x" * 50_000)
        answers += take_all(lines)
        assert len(lines) <= AUTH_LINE + 1
    assert answers == ["line too long"]
    lines.feed(b"\r\nNOOP\r\n")
    assert lines.line() == b"NOOP"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"NOOP " + b"x" * COMMAND_LINE, "line too long"),
        (b"AUTH " + b"x" * COMMAND_LINE, None),
        (b"AUTH " + b"x" * AUTH_LINE, "line too long"),
        (b"NO\0OP", "syntax"),
        (b"NO\rOP", "bare line end"),
        (b"NO\x7fOP", "syntax"),
        (b"NO\xc3\xa9OP", None),
    ],
)
def test_what_is_no_command_line_is_told_by_its_reason(line: bytes, reason: str | None):
    assert events_of(line + b"\r\n", []) == [reason or line]


def test_content_is_everything_and_what_follows_its_end_is_put_back():
    lines = Lines()
    lines.feed(b"DATA\r\ncontent\r\n.\r\nRSET\r\n")
    assert lines.line() == b"DATA"
    assert lines.content() == b"content\r\n.\r\nRSET\r\n"
    assert len(lines) == 0
    lines.put_back(b"RSET\r\n")
    lines.feed(b"QUIT\r\n")
    assert take_all(lines) == [b"RSET", b"QUIT"]


def test_what_is_thrown_away_leaves_nothing_behind():
    lines = Lines()
    lines.feed(b"a\nbc")
    with pytest.raises(BadLine):
        lines.line()
    lines.clear()
    lines.feed(b"NOOP\r\n")
    assert take_all(lines) == [b"NOOP"]

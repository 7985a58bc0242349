"""Dots and line ends: exact for any chunking, deaf to everything that only looks like an end."""

import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.dots import BareLineEnd, DotReader, DotWriter, check_line_ends

CONTENT = st.lists(
    st.sampled_from([b"\r\n", b".", b"..", b"a", b" ", b"\0", b"\xff", b"QUIT"]), max_size=30
).map(b"".join)
ANY_OCTETS = st.lists(
    st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"\0", b"\r\n.\r\n"]), max_size=20
).map(b"".join)


def read(*chunks: bytes) -> tuple[bytes, bool, bytes]:
    reader = DotReader()
    content = b"".join([reader.feed(chunk) for chunk in chunks])
    return content, reader.done, reader.rest


def write(*chunks: bytes) -> bytes:
    writer = DotWriter()
    return b"".join([writer.feed(chunk) for chunk in chunks]) + writer.finish()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def events(chunks: list[bytes]) -> tuple[object, ...]:
    try:
        return read(*chunks)
    except BareLineEnd as refusal:
        return ("refused", refusal.octet)


# What servers have been seen to take for the end of data, and clients to send for content.
LOOK_ALIKES = (
    *(b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r.\n", b"\n.\r"),
    *(b"\n\n.\n\n", b"\n\n.\r\n", b"\r\n\n.\r\n", b"\n\r.\n\r", b"\r\r.\r\r", b"\r\r\n.\r\r\n"),
    *(b"\r\n.\r\r\n", b"\r\r\n.\r\n", b"\r\n\r.\r\n", b"\r\n.\n\r\n"),
    *(b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\0\r\n.\0\r\n", b"\r\n. \r\n", b"\r\n..\r\n"),
)


def test_there_are_23_look_alikes() -> None:
    assert len(set(LOOK_ALIKES)) == 23


@pytest.mark.parametrize("look_alike", LOOK_ALIKES)
def test_a_look_alike_never_ends_data(look_alike: bytes) -> None:
    smuggled = b"a" + look_alike + b"MAIL FROM:<evil@b.c>\r\nRCPT TO:<x@y.z>\r\n"
    for chunks in ([smuggled], [smuggled[at : at + 1] for at in range(len(smuggled))]):
        reader = DotReader()
        try:
            content = b"".join([reader.feed(chunk) for chunk in chunks])
        except BareLineEnd:
            assert not reader.done
        else:
            assert not reader.done
            content += reader.feed(b"\r\n.\r\n")
            assert reader.done
            assert b"MAIL FROM:<evil@b.c>" in content  # kept as content, where that is harmless


@pytest.mark.parametrize("look_alike", LOOK_ALIKES)
def test_a_look_alike_never_leaves(look_alike: bytes) -> None:
    for where in (b"X: %bb\r\n\r\nbody\r\n", b"X: y\r\n\r\na%bb\r\n"):
        try:
            wire = write(where % look_alike)
        except BareLineEnd:
            continue
        check_line_ends(wire)
        assert wire.count(b"\r\n.\r\n") == 1
        assert wire.endswith(b"\r\n.\r\n")


@pytest.mark.parametrize(
    ("wire", "content", "rest"),
    [
        (b".\r\n", b"", b""),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"..a\r\n..\r\nb\r\n.\r\nQUIT\r\n", b".a\r\n.\r\nb\r\n", b"QUIT\r\n"),
        (b".a\r\n.\r\n", b"a\r\n", b""),
        (b"\r\n\r\n.\r\n.\r\n", b"\r\n\r\n", b".\r\n"),
        (b"a\0b\xff\r\n.\r\n", b"a\0b\xff\r\n", b""),
    ],
)
def test_data_is_read_to_its_end_and_no_further(wire: bytes, content: bytes, rest: bytes) -> None:
    assert read(wire) == (content, True, rest)


def test_octets_after_the_end_are_not_judged() -> None:
    assert read(b"a\r\n.\r\n", b"\n\r", b"x") == (b"a\r\n", True, b"\n\rx")


@given(ANY_OCTETS, st.lists(st.integers(0, 100)))
def test_any_chunking_of_the_same_octets_gives_the_same_events(
    data: bytes, places: list[int]
) -> None:
    assert events(cut(data, places)) == events([data])


@given(CONTENT, st.lists(st.integers(0, 200)), st.lists(st.integers(0, 200)))
def test_what_is_written_is_read_back_exactly(
    content: bytes, out: list[int], back: list[int]
) -> None:
    wire = write(*cut(content, out))
    complete = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert read(*cut(wire + b"NOOP\r\n", back)) == (complete, True, b"NOOP\r\n")


@given(ANY_OCTETS, st.lists(st.integers(0, 100)))
def test_content_without_dots_has_none_at_the_beginning_of_a_line(
    data: bytes, places: list[int]
) -> None:
    reader, content = DotReader(), b""
    try:
        for chunk in cut(data, places):
            content += reader.feed(chunk)
    except BareLineEnd:
        return
    assert reader.has_dots or b"\r\n." not in b"\r\n" + content


@given(CONTENT, st.lists(st.integers(0, 200)))
def test_what_was_checked_before_is_written_alike(content: bytes, places: list[int]) -> None:
    writer = DotWriter(checked=True)
    wire = b"".join([writer.feed(chunk) for chunk in cut(content, places)]) + writer.finish()
    assert wire == write(content)


@given(ANY_OCTETS, st.lists(st.integers(0, 100)))
def test_what_is_written_ends_once_and_has_no_bare_line_end(
    content: bytes, places: list[int]
) -> None:
    try:
        wire = write(*cut(content, places))
    except BareLineEnd:
        with pytest.raises(BareLineEnd):
            check_line_ends(content)
        return
    check_line_ends(wire)
    assert (b"\r\n" + wire).count(b"\r\n.\r\n") == 1


@pytest.mark.parametrize(
    ("data", "octet"), [(b"a\rb", "CR"), (b"a\nb", "LF"), (b"\n\r", "LF"), (b"\r\r\n", "CR")]
)
def test_a_bare_line_end_is_refused_by_name(data: bytes, octet: str) -> None:
    with pytest.raises(BareLineEnd, match=octet):
        read(data + b"\r\n")
    with pytest.raises(BareLineEnd, match=octet):
        write(data + b"\r\n")


def test_forty_megabytes_pass_in_small_memory_and_well_under_a_second_each_way() -> None:
    chunk = b"." + b"x" * 70 + b"\r\n"
    chunk *= 65536 // len(chunk)
    reader, writer = DotReader(), DotWriter()
    tracemalloc.start()
    started = time.process_time()
    for _ in range(640):
        reader.feed(writer.feed(chunk))
    reader.feed(writer.finish())
    spent = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.done
    assert peak < 1_000_000
    assert spent < 5  # quadratic work would take minutes


@pytest.mark.parametrize("octets", [b"\r\n", b".", b"\r\n.", b"a", b"\r\n..\r\n"])
def test_a_megabyte_in_single_octets_takes_linear_time(octets: bytes) -> None:
    reader = DotReader()
    started = time.process_time()
    for octet in octets * (100_000 // len(octets)):
        reader.feed(bytes((octet,)))
    assert time.process_time() - started < 5

"""Body digests: those of RFC 6376 for any chunking, in linear time."""

import hashlib
import re
import time
from itertools import pairwise

import pytest
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given
from hypothesis import strategies as st

from relay.signing.body_hash import BodyHash

BODIES = st.lists(
    st.sampled_from([b"\r\n", b"\r\n\r\n", b" ", b"\t", b"  \t ", b"a", b".", b"\xff", b"\0"]),
    max_size=30,
).map(b"".join)


def digests(*chunks: bytes, relaxed: bool = True) -> tuple[bytes, bytes | None]:
    body_hash = BodyHash(relaxed)
    for chunk in chunks:
        body_hash.update(chunk)
    return body_hash.digests()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\n\r\n\r\n", b"\r\n", b""),
        (b" \r\n\t\r\n", b" \r\n\t\r\n", b""),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),  # RFC 6376 §3.4.5
        (b"no end", b"no end\r\n", b"no end\r\n"),
        (b"a \r\n\r\n b", b"a \r\n\r\n b\r\n", b"a\r\n\r\n b\r\n"),
    ],
)
def test_the_digests_are_those_of_the_canonical_forms(
    body: bytes, simple: bytes, relaxed: bytes
) -> None:
    assert digests(body) == (sha256(simple), sha256(relaxed))


@given(BODIES)
def test_another_implementation_agrees(body: bytes) -> None:
    """dkimpy sees the last line as the wire has it: ended by CRLF."""
    wire = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    assert digests(body) == (
        sha256(Simple.canonicalize_body(wire)),
        sha256(Relaxed.canonicalize_body(wire)),
    )


@given(BODIES, st.lists(st.integers(0, 100)))
def test_any_chunking_gives_the_same_digests(body: bytes, places: list[int]) -> None:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    chunks = [body[start:end] for start, end in pairwise(edges)]
    assert digests(*chunks) == digests(body)
    assert digests(*[body[at : at + 1] for at in range(len(body))]) == digests(body)


def test_size_and_eight_bit_are_counted_on_the_way() -> None:
    body_hash = BodyHash()
    body_hash.update(b"abc\r\n")
    assert (body_hash.size, body_hash.eight_bit) == (5, False)
    body_hash.update(b"\xfc\r\n")
    body_hash.update(b"abc\r\n")
    assert (body_hash.size, body_hash.eight_bit) == (13, True)


def test_the_relaxed_form_is_hashed_only_where_asked_for() -> None:
    assert digests(b"a\r\n", relaxed=False) == (sha256(b"a\r\n"), None)


@pytest.mark.parametrize(
    "chunk",
    [b" " * 65536, b"\r\n" * 32768, b" \r\n" * 21845, b"x  " * 21845, b" " * 996 + b"x\r\n", b"\t"],
)
def test_no_body_takes_long(chunk: bytes) -> None:
    """A pattern that is quadratic in spaces takes minutes over 4 MB of them."""
    started = time.process_time()
    body_hash = BodyHash(relaxed=True)
    for _ in range(64):
        body_hash.update(chunk)
    body_hash.update(chunk * (1_000_000 // len(chunk)))
    body_hash.digests()
    assert time.process_time() - started < 2


@given(BODIES)
def test_runs_of_white_space_are_one_space_and_none_at_line_ends(body: bytes) -> None:
    spaces = re.sub(rb"[ \t]+", b" ", body + b"\r\nend")
    assert digests(body + b"\r\nend")[1] == sha256(spaces.replace(b" \r\n", b"\r\n") + b"\r\n")

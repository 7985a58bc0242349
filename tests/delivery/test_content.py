"""What goes over the wire after DATA, whatever is known of a body."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.content import WHOLE_OCTETS, content_of, whole_content
from relay.mail.dots import BareLineEnd
from relay.store.interface import QueueStore
from relay.store.values import Message
from tests.delivery.outgoing import make_message

_LINES = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"x.", b"x"]), max_size=8)
_SIGNATURE = b"DKIM-Signature: v=1\r\n"


def message(body: bytes, dots: bool | None, header: bytes = b"From: a@sender.test\r\n") -> Message:
    made = make_message("b@example.test", body=body, header=header)
    return replace(made, body=replace(made.body, dots=dots))


def has_dots(body: bytes) -> bool:
    return b"\r\n." in b"\r\n" + body


@given(_LINES)
def test_what_is_known_of_the_dots_of_a_body_changes_nothing_of_what_is_sent(
    lines: list[bytes],
) -> None:
    body = b"".join(line + b"\r\n" for line in lines)
    unknown = whole_content(message(body, None), _SIGNATURE, body)
    assert whole_content(message(body, True), _SIGNATURE, body) == unknown
    assert whole_content(message(body, has_dots(body)), _SIGNATURE, body) == unknown


def test_a_header_field_that_begins_with_a_dot_is_doubled() -> None:
    for header in (b".A: 1\r\nFrom: a@sender.test\r\n", b"From: a@sender.test\r\n.A: 1\r\n"):
        content = whole_content(message(b"x\r\n", False, header), b"", b"x\r\n")
        assert content == header.replace(b".A", b"..A") + b"\r\nx\r\n.\r\n"


def test_line_ends_that_nobody_has_checked_are_checked() -> None:
    with pytest.raises(BareLineEnd):
        whole_content(message(b"a\nb\r\n", None), b"", b"a\nb\r\n")


@pytest.mark.parametrize("dots", [None, True, False])
@pytest.mark.parametrize("line", [b"plain text\r\n", b".dotted\r\n"])
async def test_a_large_body_goes_out_in_blocks_as_it_would_whole(
    dots: bool | None, line: bytes
) -> None:
    if dots is False and line.startswith(b"."):
        return
    body = line * (WHOLE_OCTETS // len(line) + 100)

    class Store:
        async def read_body(self, message: Message) -> AsyncIterator[bytes]:
            for start in range(0, len(body), 100_003):
                yield body[start : start + 100_003]

    made = message(body, dots)
    stored = replace(made, body=replace(made.body, inline=None))
    content = await content_of(cast("QueueStore", Store()), stored, _SIGNATURE)
    assert not isinstance(content, bytes)
    sent = b"".join([block async for block in content])
    assert sent == whole_content(message(body, None), _SIGNATURE, body)

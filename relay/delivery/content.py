"""The content as the wire carries it: signature fields, header, empty line, body; dots doubled.

A message of ordinary size is one block, made before its transaction begins. A larger one is read
and sent block by block, so that memory holds one of them. Line ends are checked once: where that
was not done when the body came in (`Body.dots` tells) it is done here, and content with a bare CR
or LF raises `BareLineEnd` and is never sent whole (that is how mail is smuggled onwards). The store
vouches for the octets since then. What reading the body raises (`StoreError`) is passed on.
"""

from collections.abc import AsyncIterator

from relay.mail.dots import DotWriter
from relay.store.interface import QueueStore
from relay.store.values import Message

WHOLE_OCTETS = 256 * 1024
_END = b".\r\n"


async def content_of(
    store: QueueStore, message: Message, signature: bytes
) -> bytes | AsyncIterator[bytes]:
    """All octets that follow DATA, the final dot included: whole, or as blocks to be read."""
    if message.body.size > WHOLE_OCTETS and message.body.inline is None:
        return _blocks(store, message, signature)
    body = b"".join([chunk async for chunk in store.read_body(message)])
    return whole_content(message, signature, body)


def whole_content(message: Message, signature: bytes, body: bytes) -> bytes:
    """The same in one piece, for a body in memory."""
    if _has_no_dots(message):
        return b"%b%b\r\n%b.\r\n" % (signature, message.header, body)
    writer = DotWriter(checked=message.body.dots is not None)
    block = writer.feed(b"%b%b\r\n%b" % (signature, message.header, body))
    return block + writer.finish()


async def _blocks(store: QueueStore, message: Message, signature: bytes) -> AsyncIterator[bytes]:
    head = b"%b%b\r\n" % (signature, message.header)
    if _has_no_dots(message):
        yield head
        async for chunk in store.read_body(message):
            yield chunk
        yield _END
        return
    writer = DotWriter(checked=message.body.dots is not None)
    yield writer.feed(head)
    async for chunk in store.read_body(message):
        yield writer.feed(chunk)
    yield writer.finish()


def _has_no_dots(message: Message) -> bool:
    """Whether no line, neither of the header nor of the body, begins with a dot for certain."""
    header = message.header
    return message.body.dots is False and not header.startswith(b".") and b"\n." not in header

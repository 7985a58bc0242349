"""The content as the wire carries it: signature fields, header, empty line, body; dots doubled.

A message of ordinary size is one block, made before its transaction begins. A larger one is read
and sent block by block, so that memory holds one of them. Content with a bare CR or LF raises
`BareLineEnd` and is never sent whole (that is how mail is smuggled onwards). What reading the body
raises (`StoreError`) is passed on.
"""

from collections.abc import AsyncIterator

from relay.mail.dots import DotWriter
from relay.store.interface import QueueStore
from relay.store.values import Message

WHOLE_OCTETS = 256 * 1024


async def content_of(
    store: QueueStore, message: Message, signature: bytes
) -> bytes | AsyncIterator[bytes]:
    """All octets that follow DATA, the final dot included: whole, or as blocks to be read."""
    body = message.body.inline
    if body is None:
        if message.body.size > WHOLE_OCTETS:
            return _blocks(store, message, signature)
        body = b"".join([chunk async for chunk in store.read_body(message)])
    writer = DotWriter()
    block = writer.feed(b"%b%b\r\n%b" % (signature, message.header, body))
    return block + writer.finish()


async def _blocks(store: QueueStore, message: Message, signature: bytes) -> AsyncIterator[bytes]:
    writer = DotWriter()
    yield writer.feed(b"%b%b\r\n" % (signature, message.header))
    async for chunk in store.read_body(message):
        yield writer.feed(chunk)
    yield writer.finish()

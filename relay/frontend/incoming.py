"""One message while it arrives: undotted, checked, its header kept, its body hashed and written on.

Owns the octets of a message between `354` and the final reply. Memory is bounded whatever the size:
the header by its limit, the body by what a `BodyWriter` keeps before it spills; both are charged to
the budget of all sessions. What makes a message impossible does not end the reading: the rest is
read and thrown away up to the real end (`CRLF . CRLF`), and the refusal is the final reply, so that
client and server never disagree on where the message ended.
"""

from contextlib import suppress
from dataclasses import dataclass

from relay.frontend import replies
from relay.frontend.budget import Budget
from relay.frontend.replies import Answer
from relay.mail.dots import BareLineEnd, DotReader
from relay.mail.headers import HeaderError, Headers
from relay.signing.body_hash import BodyHash
from relay.store.interface import BodyWriter, StoreError, StoreFull
from relay.store.values import Body

_END = b"\r\n.\r\n"
_EMPTY_LINE = b"\r\n\r\n"
_PATIENCE = 4  # times the size limit, after which a message is not even thrown away to its end


@dataclass(frozen=True, slots=True)
class Limits:
    """Octets allowed: of a message, of its header."""

    size: int
    header: int


class Incoming:
    """Feed it chunks until `ended`; then `finish` gives header and body, or the refusal."""

    def __init__(
        self, writer: BodyWriter, limits: Limits, budget: Budget, *, relaxed: bool = False
    ) -> None:
        self.refusal: Answer | None = None
        self.ended = False
        self.rest = b""
        self._writer = writer
        self._limits = limits
        self._budget = budget
        self._charged = 0
        self._reader = DotReader()
        self._tail = b"\r\n"
        self._size = 0
        self._header = bytearray()
        self._header_ended = False
        self._hash = BodyHash(relaxed)

    @property
    def is_hopeless(self) -> bool:
        """Whether so much came of a refused message that its end is not worth waiting for."""
        return self.refusal is not None and self._size > _PATIENCE * self._limits.size

    async def feed(self, chunk: bytes) -> None:
        """Take the next octets as they came. `rest` is what follows the end."""
        if self.refusal is not None:
            self._skim(chunk)
            return
        try:
            content = self._reader.feed(chunk)
        except BareLineEnd as problem:
            await self._refuse(replies.bare_line_end(str(problem)))
            self._skim(chunk)
            return
        self._tail = (self._tail + chunk[-4:])[-4:]
        if self._reader.done:
            self.ended = True
            self.rest = self._reader.rest
        if content:
            await self._take(content)

    async def finish(self) -> tuple[Headers, Body] | Answer:
        """Header and body, the body durable; or the refusal, with nothing kept."""
        if self.refusal is not None:
            return self.refusal
        try:
            headers = Headers.parse(bytes(self._header))
        except HeaderError as problem:
            await self._refuse(replies.bad_header(str(problem)))
            return replies.bad_header(str(problem))
        simple, relaxed = self._hash.digests()
        try:
            body = await self._writer.finish(
                simple_digest=simple, relaxed_digest=relaxed, eight_bit=self._hash.eight_bit
            )
        except StoreError as problem:
            answer = store_answer(problem)
            await self._refuse(answer)
            return answer
        return headers, body

    async def discard(self) -> None:
        """Forget the message. Not after it was stored."""
        self.release()
        # Where the store cannot even delete, it sweeps what nothing refers to at its next start.
        with suppress(StoreError):
            await self._writer.discard()

    def release(self) -> None:
        """Give back what the message took of the budget."""
        self._budget.give_back(self._charged)
        self._charged = 0

    async def _take(self, content: bytes) -> None:
        self._size += len(content)
        if self._size > self._limits.size:
            await self._refuse(replies.too_long(self._limits.size))
            return
        if b"\0" in content:
            await self._refuse(replies.NUL_IN_MESSAGE)
            return
        if not self._header_ended:
            content = self._take_header(content)
            if len(self._header) > self._limits.header:
                await self._refuse(replies.header_too_long(self._limits.header))
                return
        if content:
            self._hash.update(content)
            try:
                await self._writer.write(content)
            except StoreError as problem:
                await self._refuse(store_answer(problem))
                return
        if not self._charge():
            await self._refuse(replies.IN_FLIGHT)

    def _take_header(self, content: bytes) -> bytes:
        """Add to the header up to the empty line; what follows that is body."""
        header = self._header
        seen = max(0, len(header) - 3)
        header += content
        if header.startswith(b"\r\n"):
            end, body = 0, 2
        else:
            at = header.find(_EMPTY_LINE, seen)
            if at < 0:
                return b""
            end, body = at + 2, at + 4
        self._header_ended = True
        rest = bytes(header[body:])
        del header[end:]
        return rest

    def _charge(self) -> bool:
        holds = len(self._header) + self._writer.in_memory
        more, self._charged = holds - self._charged, holds
        return self._budget.take(more)

    async def _refuse(self, answer: Answer) -> None:
        self.refusal = answer
        self._header.clear()
        await self.discard()

    def _skim(self, chunk: bytes) -> None:
        """Look for nothing but the end."""
        seen = self._tail + chunk
        end = seen.find(_END)
        if end >= 0:
            self.ended = True
            self.rest = seen[end + len(_END) :]
        else:
            self._tail = seen[-4:]
            self._size += len(chunk)


def store_answer(problem: StoreError) -> Answer:
    """What the client hears of a store failure: room or fault, nothing of the cause."""
    return replies.STORE_FULL if isinstance(problem, StoreFull) else replies.STORE_FAILED

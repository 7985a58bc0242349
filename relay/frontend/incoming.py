"""One message while it arrives: undotted, checked, its header kept, its body hashed and written on.

Owns the octets of a message between `354` and the final reply. Memory is bounded whatever the size:
the header by its limit, the body by the block that is held until it is spilled, and by what a
`BodyWriter` keeps; all of it is charged to the budget of all sessions. What makes a message
impossible does not end the reading: the rest is read and thrown away up to the real end
(`CRLF . CRLF`), and the refusal is the final reply, so that client and server never disagree on
where the message ended.
"""

from contextlib import suppress
from dataclasses import dataclass

from relay.frontend import replies
from relay.frontend.budget import Budget
from relay.frontend.replies import Answer
from relay.mail.dots import BareLineEnd, DotReader
from relay.mail.eicar import BAD_CONTENT, EicarFinder
from relay.mail.headers import HeaderError, Headers
from relay.signing.body_hash import BodyHash
from relay.store.interface import BodyWriter, StoreError, StoreFull
from relay.store.values import Body

_END = b"\r\n.\r\n"
_EMPTY_LINE = b"\r\n\r\n"
_BLOCK = 262_144  # octets of body that are worth a hand-over to the store
_PATIENCE = 4  # times the size limit, after which a message is not even thrown away to its end


@dataclass(frozen=True, slots=True)
class Limits:
    """Octets allowed: of a message, of its header."""

    size: int
    header: int


class Incoming:
    """Feed it chunks until `ended`, and `spill` it when it `is_full`; then `finish` gives header
    and body, or the refusal."""

    __slots__ = (
        "_budget",
        "_charged",
        "_eicar",
        "_hash",
        "_header",
        "_header_ended",
        "_held",
        "_held_size",
        "_limits",
        "_reader",
        "_size",
        "_tail",
        "_writer",
        "ended",
        "refusal",
        "rest",
    )

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
        self._eicar = EicarFinder()
        self._held: list[bytes] = []
        self._held_size = 0

    @property
    def is_full(self) -> bool:
        """Whether so much is held that it should be spilled before more is fed."""
        return self._held_size >= _BLOCK

    @property
    def rejected(self) -> str:
        """Why the message is not to be sent though it is accepted; `""`: it may be. It is known
        once the message is finished."""
        return BAD_CONTENT if self._eicar.found else ""

    @property
    def is_hopeless(self) -> bool:
        """Whether so much came of a refused message that its end is not worth waiting for."""
        return self.refusal is not None and self._size > _PATIENCE * self._limits.size

    def feed(self, chunk: bytes) -> None:
        """Take the next octets as they came. `rest` is what follows the end."""
        if self.refusal is not None:
            self._skim(chunk)
            return
        try:
            content = self._reader.feed(chunk)
        except BareLineEnd as problem:
            self._refuse(replies.bare_line_end(str(problem)))
            self._skim(chunk)
            return
        self._tail = (self._tail + chunk[-4:])[-4:]
        if self._reader.done:
            self.ended = True
            self.rest = self._reader.rest
        if content:
            self._take(content)

    async def spill(self) -> None:
        """Hand the body that is held on to the writer; a store that fails refuses the message."""
        block = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held.clear()
        self._held_size = 0
        self._eicar.update(block)
        try:
            await self._writer.write(block)
        except StoreError as problem:
            self._refuse(store_answer(problem))
        else:
            if not self._charge():
                self._refuse(replies.IN_FLIGHT)

    async def finish(self) -> tuple[Headers, Body] | Answer:
        """Header and body, the body durable; or the refusal, with nothing kept."""
        if self.refusal is None and self._held:
            await self.spill()
        if self.refusal is not None:
            await self.discard()
            return self.refusal
        try:
            headers = Headers.parse(bytes(self._header))
        except HeaderError as problem:
            self._refuse(replies.bad_header(str(problem)))
            await self.discard()
            return replies.bad_header(str(problem))
        simple, relaxed = self._hash.digests()
        try:
            body = await self._writer.finish(
                simple_digest=simple,
                relaxed_digest=relaxed,
                eight_bit=self._hash.eight_bit,
                dots=self._reader.has_dots,
            )
        except StoreError as problem:
            answer = store_answer(problem)
            self._refuse(answer)
            await self.discard()
            return answer
        return headers, body

    async def whole(self) -> bytes | Answer:
        """The message as it came, however its header is written; or the refusal. For what is read
        here and not passed on: it was not spilled, because it is small."""
        if self.refusal is not None:
            return self.refusal
        return b"".join((self._header, b"\r\n", *self._held))

    async def discard(self) -> None:
        """Forget the message. Not after it was stored."""
        self._held.clear()
        self.release()
        # Where the store cannot even delete, it sweeps what nothing refers to at its next start.
        with suppress(StoreError):
            await self._writer.discard()

    def release(self) -> None:
        """Give back what the message took of the budget."""
        self._budget.give_back(self._charged)
        self._charged = 0

    def _take(self, content: bytes) -> None:
        self._size += len(content)
        if self._size > self._limits.size:
            self._refuse(replies.too_long(self._limits.size))
            return
        if b"\0" in content:
            self._refuse(replies.NUL_IN_MESSAGE)
            return
        if not self._header_ended:
            content = self._take_header(content)
            if len(self._header) > self._limits.header:
                self._refuse(replies.header_too_long(self._limits.header))
                return
        if content:
            self._hash.update(content)
            self._held.append(content)
            self._held_size += len(content)
        if not self._charge():
            self._refuse(replies.IN_FLIGHT)

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
        holds = len(self._header) + self._held_size + self._writer.in_memory
        more, self._charged = holds - self._charged, holds
        return self._budget.take(more)

    def _refuse(self, answer: Answer) -> None:
        """From now on only the end is looked for. What the writer has is discarded at the end."""
        self.refusal = answer
        self._header.clear()
        self._held.clear()
        self._held_size = 0
        self._charge()

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

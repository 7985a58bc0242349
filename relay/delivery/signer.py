"""Signing on the event loop, two messages in each of its turns.

An RSA-2048 signature takes a quarter of a millisecond of a core whichever thread makes it, and a
worker process has one core: a thread gains nothing there. Handing a message over and back costs
ten futex calls, and the interpreter lock changes hands as often. So the loop signs. After two
signatures it takes a turn, so that whoever waits for a reply waits for two at most, and not for all
that are due. One in a turn costs more (a turn for each message: no work is done together with
other work); more than two gain little. docs/delivery.md has the figures.

Keys that take longer (RSA above 2048 bits) sign in a thread, one message after the other. Fails as
`dkim_fields` does, per message.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from relay.signing.keys import KeyRing, SigningKey
from relay.signing.sign import dkim_fields
from relay.store.values import Body, Message

IN_A_TURN = 2

Sign = Callable[[bytes, Body, Sequence[SigningKey], int], bytes]


class Signer:
    """Made inside a running loop. `close` ends the thread."""

    def __init__(self, keyring: KeyRing, sign: Sign = dkim_fields) -> None:
        self.keyring = keyring
        self._sign = sign
        self._loop = asyncio.get_running_loop()
        self._signed = 0  # in this turn of the loop
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="relay-signer")

    async def signature(self, message: Message, now: int) -> bytes:
        """The DKIM-Signature fields for a message at `now` (seconds); empty without a key."""
        keys = self.keyring.keys_for(message.identity, message.identity.rpartition("@")[2])
        if not keys:
            return b""
        if any(key.is_slow for key in keys):
            return await self._loop.run_in_executor(
                self._thread, self._sign, message.header, message.body, keys, now
            )
        if not self._signed:
            self._loop.call_soon(self._next_turn)
        if self._signed < IN_A_TURN:
            self._signed += 1
        else:
            turn = self._loop.create_future()
            self._waiting.append(turn)
            await turn
        return self._sign(message.header, message.body, keys, now)

    def close(self) -> None:
        """End the thread after what it is at; what still waits for it is cancelled."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _next_turn(self) -> None:
        """Let the next ones sign who have not gone away meanwhile."""
        self._signed = 0
        while self._waiting and self._signed < IN_A_TURN:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._signed += 1
        if self._signed:
            self._loop.call_soon(self._next_turn)

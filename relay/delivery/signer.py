"""Signing on the event loop, one message in each of its turns.

An RSA-2048 signature takes a quarter of a millisecond of a core whichever thread makes it, and a
worker process has one core: a thread gains nothing there. Handing a message over and back costs
ten futex calls and the switching of the interpreter lock, 60 to 200 µs of CPU each time (measured:
`bench/profiles/delivery-after.txt`). So the loop signs. Between two signatures it takes a turn, so
that whoever waits for a reply waits for one signature at most, and not for all that are due.

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

Sign = Callable[[bytes, Body, Sequence[SigningKey], int], bytes]


class Signer:
    """Made inside a running loop. `close` ends the thread."""

    def __init__(self, keyring: KeyRing, sign: Sign = dkim_fields) -> None:
        self.keyring = keyring
        self._sign = sign
        self._loop = asyncio.get_running_loop()
        self._has_signed = False  # in this turn of the loop
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
        if self._has_signed:
            turn = self._loop.create_future()
            self._waiting.append(turn)
            await turn
        else:
            self._has_signed = True
            self._loop.call_soon(self._next_turn)
        return self._sign(message.header, message.body, keys, now)

    def close(self) -> None:
        """End the thread after what it is at; what still waits for it is cancelled."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _next_turn(self) -> None:
        """Let the next one sign who has not gone away meanwhile."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._loop.call_soon(self._next_turn)
                return
        self._has_signed = False

"""Signing off the event loop: two threads, because RSA takes a quarter of a millisecond.

The threads sign while the loop goes on (the primitive releases the interpreter lock). What they
have finished is handed back in batches, with one wake-up of the loop for all of a batch: under load
that costs a third of what an executor's future does. Fails as `dkim_fields` does, per message.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread

from relay.signing.keys import KeyRing, SigningKey
from relay.signing.sign import dkim_fields
from relay.store.values import Body, Message

_THREADS = 2

Sign = Callable[[bytes, Body, Sequence[SigningKey], int], bytes]
_Job = tuple["asyncio.Future[bytes]", Message, Sequence[SigningKey], int]
_Done = tuple["asyncio.Future[bytes]", bytes, Exception | None]


class Signer:
    """Made inside a running loop. `close` ends the threads."""

    def __init__(self, keyring: KeyRing, sign: Sign = dkim_fields) -> None:
        self.keyring = keyring
        self._sign = sign
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[_Done] = deque()
        self._woken = False
        self._threads = [
            Thread(target=self._work, name=f"relay-signer-{number}", daemon=True)
            for number in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    async def signature(self, message: Message, now: int) -> bytes:
        """The DKIM-Signature fields for a message at `now` (seconds); empty without a key."""
        keys = self.keyring.keys_for(message.identity, message.identity.rpartition("@")[2])
        if not keys:
            return b""
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._jobs.put((future, message, keys, now))
        return await future

    def close(self) -> None:
        """End the threads after what they are at; whoever still waits is cancelled by its task."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, message, keys, now = job
            if future.cancelled():
                continue
            try:
                fields = self._sign(message.header, message.body, keys, now)
            except Exception as error:  # handed to whoever asked for this signature
                self._done.append((future, b"", error))
            else:
                self._done.append((future, fields, None))
            if not self._woken:
                # Set before the call and cleared by the loop before it empties the deque, so
                # that what is appended in between is found by one or the other.
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._hand_back)
                except RuntimeError:
                    return  # the loop is closed, and nobody waits any more

    def _hand_back(self) -> None:
        self._woken = False
        while self._done:
            future, fields, error = self._done.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(fields)
            else:
                future.set_exception(error)

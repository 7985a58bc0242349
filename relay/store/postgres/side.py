"""Statements beside the group commit: chunks of bodies, and notes of what is being sent.

Each is a transaction of its own, and is committed without waiting for the disk. Chunks come before
the message that names them in the log of the server, whose commit waits for all of it; notes are of
use only as long as the server lives. What is done here may be done again: work whose session is
lost is repeated once. While the database cannot be reached everybody is told so at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from relay.store.interface import StoreError, StoreUnavailable
from relay.store.postgres.errors import is_lost, is_of_the_store, translate
from relay.store.postgres.place import PATIENCE, Place
from relay.store.postgres.session import Session

R = TypeVar("R")

Work = Callable[[Session], Awaitable[R]]

_REFUSED = 0.5  # seconds for which a database that failed is not tried again


class Side:
    """One session at `place`, where one works at a time."""

    def __init__(self, place: Place, on_error: Callable[[StoreError], None]) -> None:
        self._place = place
        self._on_error = on_error
        self._lock = asyncio.Lock()
        self._session: Session | None = None
        self._closed = False
        self._refusal = ""
        self._refused_until = 0.0

    async def work(self, work: Work[R]) -> R:
        """Have it done. Raises StoreError, or what `work` raises of its own."""
        async with self._lock:
            if self._closed:
                raise StoreUnavailable("The store is closed.")
            if time.monotonic() < self._refused_until:
                raise StoreUnavailable(self._refusal)
            try:
                try:
                    return await self._attempt(work)
                except Exception as error:
                    if not is_lost(error) or isinstance(error, TimeoutError):
                        raise
                    return await self._attempt(work)
            except Exception as error:
                is_away = self._session is None
                if not (is_away or is_of_the_store(error)):
                    raise
                translated = translate(error, self._place)
                if is_away:
                    self._refusal = str(translated)
                    self._refused_until = time.monotonic() + _REFUSED
                self._on_error(translated)
                raise translated from error

    async def _attempt(self, work: Work[R]) -> R:
        if self._session is not None and self._session.is_closed():
            self._session = None
        if self._session is None:
            self._session = await self._place.connect(durable=False, patience=PATIENCE)
        try:
            return await work(self._session)
        except BaseException as error:
            if is_lost(error) or not isinstance(error, Exception):
                self._drop()
            raise

    def _drop(self) -> None:
        if self._session is not None:
            self._session.terminate()
            self._session = None

    async def close(self) -> None:
        """What is under way is done first."""
        async with self._lock:
            self._closed = True
            self._drop()

"""Questions that must not wait for commits: a few sessions that cannot write.

They see what is committed. A session that is lost is replaced; the question is asked once more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

import asyncpg

from relay.store.interface import StoreError, StoreUnavailable
from relay.store.postgres.errors import is_lost, is_of_the_store, translate
from relay.store.postgres.place import CONNECT_TIMEOUT, Place
from relay.store.postgres.session import Session

P = ParamSpec("P")
R = TypeVar("R")

SESSIONS = 3  # at most, of each process
_IDLE = 60.0  # seconds after which a session that nobody uses is closed


class Reader:
    """Answers questions about what is stored at `place`."""

    def __init__(
        self,
        place: Place,
        on_error: Callable[[StoreError], None],
        *,
        statement_timeout: str = "30s",
    ) -> None:
        self._place = place
        self._on_error = on_error
        self._statement_timeout = statement_timeout
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def ask(
        self,
        question: Callable[Concatenate[Session, P], Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """What `question` finds. Raises StoreError."""
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        try:
            try:
                return await self._answer(question, *args, **kwargs)
            except Exception as error:
                if not is_lost(error) or isinstance(error, TimeoutError):
                    raise
                if self._pool is not None:
                    await (
                        self._pool.expire_connections()
                    )  # the others are lost as well, most likely
                return await self._answer(question, *args, **kwargs)
        except Exception as error:
            if not (is_of_the_store(error) or isinstance(error, TimeoutError | StoreError)):
                raise
            translated = translate(error, self._place)
            self._on_error(translated)
            raise translated from error

    def asking(
        self, question: Callable[Concatenate[Session, P], Awaitable[R]]
    ) -> Callable[P, Awaitable[R]]:
        """`question`, to be given what for; see `ask`."""

        def ask(*args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
            return self.ask(question, *args, **kwargs)

        return ask

    async def _answer(
        self,
        question: Callable[Concatenate[Session, P], Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        pool = await self._opened()
        session = await pool.acquire(timeout=CONNECT_TIMEOUT + 1)
        try:
            return await question(session, *args, **kwargs)
        except (asyncio.CancelledError, TimeoutError):
            # Nobody waits until the server has cancelled it: it may be the server that is silent.
            session.terminate()
            raise
        finally:
            await pool.release(session)

    async def _opened(self) -> "asyncpg.Pool":
        async with self._opening:
            if self._pool is None:
                arguments = self._place.arguments(
                    default_transaction_read_only="on",
                    statement_timeout=self._statement_timeout,
                )
                self._pool = await asyncpg.create_pool(
                    min_size=0,
                    max_size=SESSIONS,
                    max_inactive_connection_lifetime=_IDLE,
                    connect=self._place.reach,
                    **arguments,
                )
            return self._pool

    async def close(self) -> None:
        """Questions under way are answered first, if they are soon."""
        self._closed = True
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                async with asyncio.timeout(5):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

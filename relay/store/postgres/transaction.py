"""One session that writes: batches of requests, each batch in one transaction.

A session that a fault has made doubtful is left, and another opened for the next batch. The server
may have committed what it could not tell us of any more. So each transaction leaves a token behind,
and whoever is in doubt leaves the same one, marked as void, where it is not: that waits for a
transaction which is not over yet, and keeps one that has not committed from ever doing so. The
server's own number of a transaction says less: after a crash, or where another server has taken
over, it is given again to one that has nothing to do with ours.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relay.store.interface import StoreError, StoreUnavailable
from relay.store.postgres.errors import is_lost, translate
from relay.store.postgres.place import PATIENCE, Place
from relay.store.postgres.requests import AnyRequest, Operation
from relay.store.postgres.session import Session

DOUBT = 10.0  # seconds for which the server is asked what became of a transaction
_AGAIN = 0.2  # seconds
_LEAVE = (
    "WITH earlier AS (DELETE FROM batch WHERE token = $2) INSERT INTO batch (token) VALUES ($1)"
)
_VOID = "INSERT INTO batch (token, void) VALUES ($1, true) ON CONFLICT DO NOTHING"
# It writes, so that it waits for the standby that the lost session may have waited for in vain:
# whose wait is cut short has committed on the primary alone.
_BECAME = "UPDATE batch SET void = void WHERE token = $1 RETURNING NOT void"
_FORGET = "DELETE FROM batch WHERE began_at < clock_timestamp() - interval '1 day'"

Resolved = list[tuple[AnyRequest, Any]]


class Undone(Exception):
    """The session was lost, and nothing was done: the batch may be tried again."""


class Unreachable(Exception):
    """There is no session to be had, for the reason of `error`."""

    def __init__(self, error: StoreError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class Doubtful(Exception):
    """The session was lost while it committed, and nobody can say what became of it."""

    resolved: Resolved
    error: StoreError


def _place(operation: Operation[Any, Any]) -> tuple[str, str]:
    """In all processes kinds of operations come in the same order, so that they touch the tables in
    the same order: of two transactions that need what the other has, neither would get on."""
    return operation.__module__, getattr(operation, "__qualname__", "")


class Transactions:
    """Transactions in `place`. Used by one task at a time."""

    def __init__(self, place: Place, doubt: float = DOUBT) -> None:
        self._place = place
        self._doubt = doubt
        self._session: Session | None = None
        self._token = 0  # of the last one

    async def commit(self, batch: Sequence[AnyRequest]) -> Resolved:
        """Run the batch, and commit. Raises `Unreachable`, `Undone`, `Doubtful`, or what went
        wrong, with nothing changed."""
        try:
            session = await self._connected()
        except StoreError as error:
            raise Unreachable(error) from error
        kinds: dict[Operation[Any, Any], list[AnyRequest]] = {}
        for request in batch:
            kinds.setdefault(request.operation, []).append(request)
        resolved: Resolved = []
        try:
            await session.execute("BEGIN")
            token = secrets.randbits(63)
            await session.execute(_LEAVE, token, self._token)
            for operation in sorted(kinds, key=_place):
                requests = kinds[operation]
                results = await operation(session, [request.argument for request in requests])
                resolved += zip(requests, results, strict=True)
        except BaseException as error:
            await self._roll_back(error)
            if is_lost(error):
                raise Undone(str(error)) from error
            raise
        await self._end(token, resolved)
        self._token = token
        return resolved

    async def _end(self, token: int, resolved: Resolved) -> None:
        assert self._session is not None
        try:
            await self._session.execute("COMMIT")
        except BaseException as error:
            self.close()
            if not is_lost(error):
                raise  # refused, as a deferred check is: rolled back
            if not await self.has_committed(token, resolved):
                raise Undone(str(error)) from error

    async def has_committed(self, token: int, resolved: Resolved) -> bool:
        """What became of a transaction whose session was lost. Raises `Doubtful`."""
        deadline = time.monotonic() + self._doubt
        failure: StoreError = StoreUnavailable(f"The database {self._place} was lost.")
        while time.monotonic() < deadline:
            try:
                session = await self._connected()
                await session.execute(_VOID, token)
                has_committed = bool(await session.fetchval(_BECAME, token))
            except Exception as error:
                failure = translate(error, self._place)
                self.close()
                await asyncio.sleep(_AGAIN)
            else:
                self._token = token
                return has_committed
        raise Doubtful(resolved, failure)

    async def _connected(self) -> Session:
        if self._session is None or self._session.is_closed():
            self._session = await self._place.connect(patience=PATIENCE)
        return self._session

    async def _roll_back(self, cause: BaseException) -> None:
        assert self._session is not None
        if is_lost(cause) or not isinstance(cause, Exception):
            self.close()
            return
        try:
            await self._session.execute("ROLLBACK")
        except Exception:  # whatever it is: the session is not used again
            self.close()

    def close(self) -> None:
        """Leave the session at once, if there is one: the server rolls back."""
        if self._session is not None:
            self._session.terminate()
            self._session = None

    async def leave(self) -> None:
        """Leave the session in order."""
        if self._session is not None:
            session, self._session = self._session, None
            try:
                await session.close(timeout=2.0)
            except Exception:  # it is given up either way
                session.terminate()


async def forget(db: Session) -> None:
    """The tokens of processes that are long gone."""
    await db.execute(_FORGET)

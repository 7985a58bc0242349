"""One session that writes: batches of requests, each batch in one transaction.

A session that a fault has made doubtful is left, and another opened for the next batch. The server
may have committed what it could not tell us of any more. It keeps for a while what became of each
transaction: so it is asked, by the number that the transaction had, as soon as it can be reached.
A server that took over in between (another *timeline*) numbers its transactions anew from where the
old one's had come to it: its answer would be about another one, and is not believed.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relay.store.interface import StoreError, StoreUnavailable
from relay.store.postgres.errors import is_lost, translate
from relay.store.postgres.place import Place
from relay.store.postgres.requests import AnyRequest, Operation
from relay.store.postgres.session import Session

DOUBT = 10.0  # seconds for which the server is asked what became of a transaction
_AGAIN = 0.2  # seconds
_BEGUN = "SELECT pg_current_xact_id()::text::bigint"
_TIMELINE = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
_BECAME = "SELECT pg_xact_status($1::text::xid8)"

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
        self._timeline = ""

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
            number = await session.fetchval(_BEGUN)
            for operation in sorted(kinds, key=_place):
                requests = kinds[operation]
                results = await operation(session, [request.argument for request in requests])
                resolved += zip(requests, results, strict=True)
        except BaseException as error:
            await self._roll_back(error)
            if is_lost(error):
                raise Undone(str(error)) from error
            raise
        await self._end(number, resolved)
        return resolved

    async def _end(self, number: int, resolved: Resolved) -> None:
        assert self._session is not None
        try:
            await self._session.execute("COMMIT")
        except BaseException as error:
            self.close()
            if not is_lost(error):
                raise  # refused, as a deferred check is: rolled back
            if not await self._has_committed(number, resolved):
                raise Undone(str(error)) from error

    async def _has_committed(self, number: int, resolved: Resolved) -> bool:
        """What became of a transaction whose session was lost. Raises `Doubtful`."""
        deadline = time.monotonic() + self._doubt
        timeline = self._timeline
        failure: StoreError = StoreUnavailable(f"The database {self._place} was lost.")
        while True:
            try:
                session = await self._connected()
                if self._timeline != timeline:
                    break
                became = await session.fetchval(_BECAME, str(number))
                if became in ("committed", "aborted"):
                    return bool(became == "committed")
                if became is None:
                    break
            except Exception as error:
                failure = translate(error, self._place)
                self.close()
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_AGAIN)
        raise Doubtful(resolved, failure)

    async def _connected(self) -> Session:
        if self._session is None or self._session.is_closed():
            self._session = await self._place.connect()
            try:
                self._timeline = await self._session.fetchval(_TIMELINE)
            except Exception as error:
                self.close()
                raise translate(error, self._place) from error
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

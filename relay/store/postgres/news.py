"""News between nodes: NOTIFY, and a session of its own that listens.

A notification goes to the sessions that listen when it is committed, and to nobody else. So
whoever begins to listen, at the start and after a session was lost, has missed an unknown number of
them, and is told of each kind once. A session on which nothing comes in is asked every other second
whether it lives: a server that has vanished sends nothing either.
"""

import asyncio
from collections.abc import Callable
from typing import get_args

from relay.observe.logging import Logger
from relay.store.fleet_values import NewsKind
from relay.store.postgres.errors import translate
from relay.store.postgres.place import Place
from relay.store.postgres.session import Session

_CHANNEL = "relay_news"
_KINDS: frozenset[NewsKind] = frozenset(get_args(NewsKind))
_ASK_EVERY = 2.0  # seconds
_ANSWER_WITHIN = 5.0  # seconds
_AGAIN = (0.1, 0.5, 1.0)  # seconds between attempts to connect; the last one goes on


async def tell(db: Session, news: NewsKind) -> None:
    """Have it told when the transaction that is open commits."""
    await db.execute("SELECT pg_notify($1, $2)", _CHANNEL, news)


class News:
    """Listens at `place`, from `open` to `close`, where somebody wants to be told."""

    def __init__(self, place: Place, log: Logger) -> None:
        self._place = place
        self._log = log
        self._told: Callable[[NewsKind], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._failures = 0  # since it heard last

    def listen(self, told: Callable[[NewsKind], None]) -> None:
        """Whom to tell, on the loop."""
        self._told = told

    def open(self) -> None:
        """Begin to listen. The first session may take a while to come about."""
        if self._told is not None and self._task is None:
            self._task = asyncio.create_task(self._listen_for_ever(self._told), name="relay-news")

    async def close(self) -> None:
        """Safe without `open`, and twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _listen_for_ever(self, told: Callable[[NewsKind], None]) -> None:
        while True:
            try:
                await self._listen(told)
            except Exception as error:  # whatever it is: this node must hear again
                if self._failures == 0:
                    self._log.warning(
                        "does not hear for now what other nodes change",
                        error=str(translate(error, self._place)),
                    )
            await asyncio.sleep(_AGAIN[min(self._failures, len(_AGAIN) - 1)])
            self._failures += 1

    async def _listen(self, told: Callable[[NewsKind], None]) -> None:
        """Until the session is lost, which raises."""

        def hear(connection: object, pid: int, channel: str, word: str) -> None:
            for kind in _KINDS & {word}:  # a newer relay may have other kinds
                told(kind)

        session = await self._place.connect(durable=False)
        try:
            await session.add_listener(_CHANNEL, hear)
            self._failures = 0
            for kind in sorted(_KINDS):
                told(kind)
            while True:
                await asyncio.sleep(_ASK_EVERY)
                async with asyncio.timeout(_ANSWER_WITHIN):
                    await session.fetchval("SELECT 1")
        finally:
            session.terminate()

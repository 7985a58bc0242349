"""A log in memory, destinations that do as they are told, and tellers over them, all in simulated
time (`tests.limits.simulation`)."""

import asyncio
import io
from dataclasses import replace
from random import Random

from relay.config.events import Webhook
from relay.events.matching import Matching
from relay.events.patience import Failed, Told
from relay.events.reader import EventReader
from relay.events.teller import Teller
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.store.interface import StoreError
from relay.store.log_values import LoggedEvent, LoggedMessage, SendFacts, TellingCursor

HOSTNAME = "relay.test"
NOW = 1_790_000_000_000
ALL = Matching(
    frozenset({"Send", "Delivery", "Bounce", "SendingPaused", "SendingResumed"}),
    frozenset({"news"}),
)
NEW = TellingCursor("hook", 0)


def message(id_: str, configuration_set: str = "news", **others) -> LoggedMessage:
    facts = {
        "accepted_at": NOW,
        "expires_at": NOW + 1000,
        "reverse_path": "app@sender.test",
        "recipients": ("ann@customer.test",),
        "credential": "app",
        "identity": "sender.test",
        "size": 100,
    }
    return LoggedMessage(id=id_, configuration_set=configuration_set, **(facts | others))


class MemoryLog:
    """What the telling needs of a message log. While `fails` is true every question does."""

    def __init__(self) -> None:
        self.events: list[LoggedEvent] = []
        self.known: dict[str, LoggedMessage] = {}
        self.stored: dict[str, TellingCursor] = {}
        self.letters = []
        self.fails = False
        self.asked = 0
        self._ids = 0

    def happen(self, *message_ids: str, **others) -> None:
        """An event about each of these messages."""
        for id_ in message_ids:
            self.known.setdefault(id_, message(id_))
            number = len(self.events) + 1
            facts = {"type": "Send", "at": NOW, "recipients": ("ann@customer.test",)}
            facts |= {"facts": SendFacts(), **others}
            self.events.append(
                LoggedEvent(id=f"event-{number}", message_id=id_, number=number, **facts)
            )

    def _check(self) -> None:
        if self.fails:
            raise StoreError("the disk is full")

    async def events_after(self, number, limit):
        self._check()
        self.asked += 1
        return [event for event in self.events if event.number > number][:limit]

    async def messages(self, ids):
        return {id_: self.known[id_] for id_ in ids if id_ in self.known}

    async def newest_event(self):
        self._check()
        return self.events[-1].number if self.events else 0

    async def oldest_event(self):
        return self.events[0].number if self.events else 0

    async def cursors(self):
        return list(self.stored.values())

    async def put_cursors(self, cursors):
        self._check()
        self.stored |= {cursor.destination: cursor for cursor in cursors}

    async def forget_cursor(self, destination):
        self.stored.pop(destination, None)

    async def add_dead_letters(self, letters, most):
        self._check()
        for letter in letters:
            self._ids += 1
            self.letters.append(replace(letter, id=self._ids))
        self.letters = self.letters[-most:]

    async def dead_letters(self, destination, after=0, limit=100):
        return [
            one for one in self.letters if one.id > after and destination in ("", one.destination)
        ][:limit]

    async def count_dead_letters(self):
        names = [one.destination for one in self.letters]
        return {name: names.count(name) for name in names}

    async def forget_dead_letters(self, ids):
        before = len(self.letters)
        self.letters = [one for one in self.letters if one.id not in set(ids)]
        return before - len(self.letters)


class Receiver:
    """A destination. `answers` says what becomes of an event of that id, one word after the other,
    then of all; what is not said is told. While `gate` is closed nothing is answered."""

    batch = 1

    def __init__(self, concurrency: int = 10) -> None:
        self.concurrency = concurrency
        self.told: list[str] = []
        self.tried: list[str] = []
        self.answers: dict[str, list] = {}
        self.down = False
        self.seconds = 0.01  # that an answer takes
        self.gate = asyncio.Event()
        self.gate.set()
        self.most_at_once = 0
        self._at_once = 0
        self.closed = False

    async def tell(self, notifications):
        self._at_once += len(notifications)
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return [await self._answer(one.event.id) for one in notifications]
        finally:
            self._at_once -= len(notifications)

    async def _answer(self, id_):
        self.tried.append(id_)
        await asyncio.sleep(self.seconds)
        await self.gate.wait()
        if self.down:
            return Failed("down")
        outcome = self.answers[id_].pop(0) if self.answers.get(id_) else Told("ok")
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, Told):
            self.told.append(id_)
        return outcome

    async def close(self):
        self.closed = True


class World:
    """A teller over a log in memory, and time that goes on at a word."""

    def __init__(self, **settings) -> None:
        self.log = MemoryLog()
        self.receiver = Receiver(settings.pop("concurrency", 10))
        self.config = Webhook(type="webhook", url="https://hooks.test/", **settings)
        self.metrics = Metrics()
        self.logged = io.StringIO()
        self.clock = NOW
        self.reader = EventReader(self.log, HOSTNAME)
        self.make = lambda: self.receiver
        self.teller: Teller
        self._task = None

    def start(self, cursor=NEW, matching=ALL):
        self.teller = Teller(
            "hook",
            self.config,
            matching,
            cursor,
            make=lambda: self.make(),  # noqa: PLW0108 - a test may change it
            reader=self.reader,
            log=self.log,
            metrics=self.metrics,
            logger=make_logger(stream=self.logged),
            clock=lambda: self.clock,
            rng=Random(1),
        )
        self.teller.newest = len(self.log.events)
        self._task = asyncio.create_task(self.teller.run())
        return self.teller

    async def stop(self):
        """Returns the cursor as it would be stored last."""
        cursor = self.teller.cursor()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return cursor

    async def until(self, holds, seconds=1e6):
        """Let everything run until that holds, in simulated time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not holds():
            if self._task.done():
                self._task.result()
            assert loop.time() < end, f"it did not come to that: {self.logged.getvalue()}"
            await asyncio.sleep(0.05)

    async def all_told(self):
        await self.until(lambda: self.teller.upto == len(self.log.events))

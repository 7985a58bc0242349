"""The part of the store that no message waits for: permits, operators, secrets."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from relay.store.codec import Damaged
from relay.store.interface import StoreUnavailable
from relay.store.postgres import groups, operators, permits
from relay.store.postgres.attempts import Attempts
from relay.store.postgres.delays import Delays
from relay.store.postgres.fleet import Fleet
from relay.store.postgres.news import News
from relay.store.postgres.outbox import Outbox
from relay.store.postgres.pauses import Pauses
from relay.store.postgres.permits import Clock, PermitBook, by_the_server
from relay.store.postgres.reader import Reader
from relay.store.postgres.shares import Shares
from relay.store.postgres.sts_policies import StsPolicies
from relay.store.postgres.suppressions import Suppressions
from relay.store.postgres.suspensions import Suspensions
from relay.store.postgres.tls_tallies import TlsTallies
from relay.store.postgres.unclassified import Unclassified
from relay.store.postgres.warmups import Warmups
from relay.store.postgres.writer import Writer
from relay.store.values import (
    Message,
    PermitRequest,
    Permits,
    QueueDepth,
    QueueEntry,
    QueueFilter,
    QueueGroup,
    QueueGrouping,
    Secret,
    State,
)


def chunked(identifiers: Sequence[int]) -> Iterator[Sequence[int]]:
    """In parts that one operation may change."""
    for start in range(0, len(identifiers), operators.CHANGED):
        yield identifiers[start : start + operators.CHANGED]


class Lists:
    """Implements `PermitStore` and most of `OperatorStore`."""

    def __init__(
        self, writer: Writer, questions: Reader, news: News, clock: Clock = by_the_server
    ) -> None:
        """`news` hears what other nodes tell; `clock` is whose time counts for permits."""
        self._writer = writer
        self._questions = questions
        self._permits = PermitBook(clock)
        self._news = news
        self.fleet = Fleet(writer, questions, news)
        self.shares = Shares(writer)
        self.outbox = Outbox(writer, questions)
        self.pauses = Pauses(writer, questions)
        self.suppressions = Suppressions(writer, questions)
        self.attempts = Attempts(writer, questions)
        self.suspensions = Suspensions(writer, questions)
        self.delays = Delays(writer, questions)
        self.warmups = Warmups(writer, questions)
        self.unclassified = Unclassified(writer, questions)
        self.sts_policies = StsPolicies(writer, questions)
        self.tls_tallies = TlsTallies(writer, questions)

    # Permits

    async def lease_permits(self, request: PermitRequest) -> Permits:
        return await self._writer.submit(self._permits.lease, request)

    async def return_permits(self, key: str, at: int, count: int) -> None:
        await self._writer.submit(permits.give_back, (key, at, count))

    async def permits_used(self, keys: Sequence[str], window: int, now: int) -> dict[str, int]:
        return await self._questions.ask(self._permits.used, keys, window, now)

    # Operators

    async def queue(self, which: QueueFilter) -> list[QueueEntry]:
        found: list[QueueEntry] = []
        for some in chunked(await self._matching(which, quarantined=True)):
            found += await self._questions.ask(operators.entries, some)
        return found

    async def matching(self, which: QueueFilter) -> Sequence[int]:
        return await self._matching(which)

    async def _matching(
        self, which: QueueFilter, *, unclaimed: bool = False, quarantined: bool = False
    ) -> list[int]:
        """In questions that are short enough for others to come in between."""
        found: list[int] = []
        while len(found) < which.limit:
            some, last = await self._questions.ask(
                operators.page, which, unclaimed=unclaimed, quarantined=quarantined
            )
            found += some
            if not last:
                break
            which = replace(which, after=last)
        return found[: which.limit]

    async def newest(self) -> int:
        return await self._questions.ask(operators.newest)

    async def depths(self) -> list[QueueDepth]:
        return await self._questions.ask(operators.depths)

    async def groups(self, by: QueueGrouping) -> list[QueueGroup]:
        return await self._questions.ask(groups.groups, by)

    async def set_state(self, which: QueueFilter, state: State) -> int:
        changed = 0
        for some in chunked(await self._matching(which)):
            changed += await self._writer.submit(operators.set_state, (some, which.state, state))
        return changed

    async def retry_now(self, which: QueueFilter, now: int) -> int:
        changed = 0
        for some in chunked(await self._matching(which, unclaimed=True)):
            changed += await self._writer.submit(operators.retry_now, (some, now))
        return changed

    async def move(self, which: QueueFilter, pool: str) -> int:
        changed = 0
        for some in chunked(await self._matching(which)):
            changed += await self._writer.submit(operators.move, (some, pool))
        return changed

    async def find_message(self, message_id: str) -> Message | None:
        try:
            return await self._questions.ask(operators.find_message, message_id)
        except Damaged as error:
            raise StoreUnavailable(f"Message {message_id} is damaged: {error}") from error

    async def add_secret(self, secret: Secret) -> None:
        await self._writer.submit(operators.add_secret, secret)

    async def secrets(self) -> list[Secret]:
        return await self._questions.ask(operators.secrets)

    async def revoke_secrets(self, credential: str, now: int) -> int:
        return await self._writer.submit(operators.revoke_secrets, (credential, now))

"""The part of the store that no message waits for: permits, operators, secrets."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from relay.store.alone import Alone
from relay.store.codec import Damaged
from relay.store.interface import StoreUnavailable
from relay.store.sqlite import groups, operators, permits
from relay.store.sqlite.attempts import Attempts
from relay.store.sqlite.delays import Delays
from relay.store.sqlite.outbox import Outbox
from relay.store.sqlite.pauses import Pauses
from relay.store.sqlite.reader import Reader
from relay.store.sqlite.sts_policies import StsPolicies
from relay.store.sqlite.suppressions import Suppressions
from relay.store.sqlite.suspensions import Suspensions
from relay.store.sqlite.tls_tallies import TlsTallies
from relay.store.sqlite.unclassified import Unclassified
from relay.store.sqlite.warmups import Warmups
from relay.store.sqlite.writer import Writer
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

    is_shared = False

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions
        self.fleet = self.shares = Alone()
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
        return await self._writer.submit(permits.lease, request)

    async def return_permits(self, key: str, at: int, count: int) -> None:
        await self._writer.submit(permits.give_back, (key, at, count))

    async def permits_used(self, keys: Sequence[str], window: int, now: int) -> dict[str, int]:
        return await self._questions.ask(permits.used, keys, window, now)

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

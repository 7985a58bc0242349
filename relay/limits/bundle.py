"""Permits of one tuple of keys in a worker: those at hand, and the question for more.

One question is under way at a time. Whoever comes meanwhile waits, in order of arrival, and the
next question asks for all of them at once. It also asks for as many more as went in the time for
which permits may be kept: a steady stream asks once in that time, a single message takes nothing
that others could use.

Permits are good until their lease is over, and not a moment longer: a process that was stopped
meanwhile finds them worthless and asks again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.limits.gatekeeper import NOW, Decision
from relay.limits.leases import (
    Ask,
    Lease,
    LeaseRequest,
    Lessor,
    LessorGone,
    Returned,
    longest_hold,
)
from relay.limits.specs import Limit

_MOST_ASKS = 200  # in one question
_MEMORY = 1.0  # seconds for which a refusal is believed without asking again
_LONGEST_WAY = 1.0  # seconds; slower answers are not worth waiting for


@dataclass(eq=False, slots=True)
class _Waiter:
    n: int
    patience: float
    answer: "asyncio.Future[Decision]"
    lease: Lease | None = None  # by which it was answered


class Bundle:
    """`keys` have `limits`, all of them; those of `queueing` may delay a message. `kept` is told
    when there are permits at hand that are to be given back if they are not spent."""

    def __init__(
        self,
        keys: tuple[str, ...],
        queueing: tuple[str, ...],
        limits: Sequence[Limit],
        lessor: Lessor,
        clock: Callable[[], float],
        chance: Callable[[], float],
        kept: Callable[["Bundle"], None],
    ) -> None:
        self.free = 0
        self.until = 0.0
        self._blocks: tuple[int, ...] = ()
        self._keys = keys
        self._queueing = queueing
        self._lessor = lessor
        self._clock = clock
        self._chance = chance
        self._kept = kept
        self._hold = longest_hold(limits)
        self._is_strict = any(limit.rate is not None and limit.strict for limit in limits)
        self._has_quota = any(limit.quota is not None for limit in limits)
        self._way = 0.0  # seconds that answers take to come here, doubled; the slow ones count
        self._gone = 0  # recipients since the time below
        self._since = clock()
        self._pace = 0.0  # recipients per second, lately
        self._refusal = NOW
        self._refused_until = 0.0  # when it is worth asking again
        self._free_at = 0.0  # when a permit may be free, as the refusal said
        self._waiting: deque[_Waiter] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._retired = False

    def answer(self, n: int) -> Decision | None:
        """The answer for a message to `n` recipients, as far as it is known here."""
        if self._waiting:
            return None
        if self.free >= n:
            if self._clock() <= self.until:
                self.free -= n
                self._gone += n
                return NOW
        elif self._refused_until:
            now = self._clock()
            if now < self._refused_until:
                return self._refused_again(now)
            self._refused_until = 0.0
        return None

    async def ask(self, n: int, patience: float) -> Decision:
        """The answer of the authority."""
        while True:
            waiter = _Waiter(n, patience, asyncio.get_running_loop().create_future())
            self._waiting.append(waiter)
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask_for_all())
            decision = await waiter.answer
            if waiter.lease is None or not decision.now or self._is_timely(waiter.lease):
                return decision
            # The process was held up between hearing and doing.
            self._return(n, waiter.lease)

    @property
    def is_waited_for(self) -> bool:
        """Whether a question is under way."""
        return self._asking is not None or bool(self._waiting)

    def give_back(self) -> None:
        """Nothing at hand is to be spent any more."""
        for returned in self._leftover():
            self._lessor.give_back(returned)

    def retire(self) -> None:
        """Give back what is at hand, and what may still come."""
        self._retired = True
        self.give_back()

    # Asking

    async def _ask_for_all(self) -> None:
        """The root of a task. What it fails with goes to those who wait."""
        try:
            while self._someone_waits():
                await self._ask_once()
        except Exception as fault:
            for waiter in self._waiting:
                if not waiter.answer.done():
                    waiter.answer.set_exception(fault)
            self._waiting.clear()
        finally:
            self._asking = None
            for waiter in self._waiting:
                waiter.answer.cancel()

    def _someone_waits(self) -> bool:
        """Forget those who have gone away meanwhile; whether anyone is left."""
        if any(waiter.answer.done() for waiter in self._waiting):
            self._waiting = deque(w for w in self._waiting if not w.answer.done())
        return bool(self._waiting)

    async def _ask_once(self) -> None:
        hold = min(max(self._hold, self._way), _LONGEST_WAY)
        batch = [self._waiting[i] for i in range(min(len(self._waiting), _MOST_ASKS))]
        request = LeaseRequest(
            self._keys,
            tuple([Ask(waiter.n, waiter.patience) for waiter in batch]),
            self._queueing,
            self._likely(self._clock()),
            hold,
            self._leftover(),
        )
        try:
            lease = await self._lessor.lease(request)
        except LessorGone:
            gone = Decision(_MEMORY, self._keys[0], "store", charged=False)
            lease = Lease((gone,) * len(batch), until=self._clock() + hold)
        self._way = max(2 * (self._clock() - lease.until + hold), self._way * 0.95)
        if not self._is_timely(lease):
            self._too_late(batch, lease)
            return
        self._take_over(lease)
        for waiter, decision in zip(batch, lease.decisions, strict=True):
            self._waiting.popleft()
            waiter.lease = lease
            self._tell(waiter, decision)
        while self._someone_waits() and self._waiting[0].n <= self.free:
            waiter = self._waiting.popleft()  # it came meanwhile
            waiter.lease = lease
            self.free -= waiter.n
            self._tell(waiter, NOW)
        if self.free and self._retired:
            self.give_back()

    def _likely(self, now: float) -> int:
        """How many recipients will go while permits may be kept, if things go on as they did."""
        elapsed = now - self._since
        if elapsed >= self._hold:
            self._pace = self._gone / elapsed
            self._since, self._gone = now, 0
        return 0 if self._retired else int(max(self._pace * (self._hold + self._way), self._gone))

    def _take_over(self, lease: Lease) -> None:
        self.free, self.until, self._blocks = lease.extra, lease.until, lease.blocks
        self._refused_until = 0.0
        if self.free and self._has_quota:
            self._kept(self)

    def _tell(self, waiter: _Waiter, decision: Decision) -> None:
        if not decision.charged and not self._queueing:
            decision = self._remember(decision)
        if decision.now:
            self._gone += waiter.n
        if not waiter.answer.done():
            waiter.answer.set_result(decision)
        elif decision.now:
            self.free += waiter.n  # it has gone away: the next one may have its permits
            if self._has_quota:
                self._kept(self)

    def _too_late(self, batch: Sequence[_Waiter], lease: Lease) -> None:
        """The answer took longer than its permits may be kept. What was refused stays refused; the
        rest is asked for again, with more time."""
        granted = lease.extra
        for waiter, decision in zip(batch, lease.decisions, strict=True):
            if decision.charged:
                granted += waiter.n
            else:
                self._waiting.remove(waiter)
                self._tell(waiter, decision)
        if granted:
            self._return(granted, lease)

    def _is_timely(self, lease: Lease) -> bool:
        """Whether what was granted may still go: a strict rate counts it until the lease is over,
        other limits have counted it for good."""
        return not self._is_strict or self._clock() <= lease.until

    def _return(self, n: int, lease: Lease) -> None:
        """Permits that were not used, too late for any but a quota."""
        if self._has_quota:
            self._lessor.give_back(Returned(self._keys, n, lease.until, lease.blocks))

    def _leftover(self) -> tuple[Returned, ...]:
        """What is at hand, to be given back; nothing is at hand after that."""
        free, self.free = self.free, 0
        if not free or not (self._has_quota or self._clock() <= self.until):
            return ()
        return (Returned(self._keys, free, self.until, self._blocks),)

    # Refusals

    def _remember(self, refusal: Decision) -> Decision:
        """Nothing is free before the time that a refusal says: nobody need ask until then.

        Workers that wait for the same permit are told to come at slightly different times, another
        one first each time.
        """
        now = self._clock()
        delay = refusal.delay_s
        if self._is_strict and refusal.kind == "rate":
            delay += self._chance() * self._hold
        self._free_at = now + delay
        self._refused_until = now + min(delay, _MEMORY)
        self._refusal = Decision(delay, refusal.limited_by, refusal.kind, charged=False)
        return self._refusal

    def _refused_again(self, now: float) -> Decision:
        refusal = self._refusal
        return Decision(self._free_at - now, refusal.limited_by, refusal.kind, charged=False)

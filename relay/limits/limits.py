"""All limits of the relay: may this message go, and if not now, when?

Owns the state of every limited key (see `relay.limits.specs`): its pace and its quota ledger. A
message is charged to all of its keys or to none. Nothing here sleeps; the answer is a `Decision`
and the caller waits, refuses or goes on. Other processes lease permits (`lease`), for the messages
that wait there and for a few that are likely to come.

Where the store that keeps the quotas fails nothing is let through (`kind` is `store`); no exception
of the store reaches the caller of `charge`, `admit` or `lease`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Protocol

from relay.limits.calendar import Calendar
from relay.limits.gate import Gate, Spent, Terms, lend
from relay.limits.gatekeeper import NOW, Decision, Level
from relay.limits.gates import Gates
from relay.limits.leases import Lease, LeaseRequest, Returned
from relay.limits.quota import AT_ONCE, DAY_MS, Grant, PermitSource, QuotaLedger
from relay.limits.sharing import Sharing
from relay.limits.specs import Limit, config_limits
from relay.store.interface import StoreError

__all__ = ["Decision", "Level", "Limit", "Limits", "PermitStore", "config_limits"]


class PermitStore(PermitSource, Protocol):
    """What the limits need of the store (a part of `relay.store.interface.PermitStore`)."""

    async def permits_used(self, keys: Sequence[str], window: int, now: int) -> dict[str, int]: ...


class Limits:
    """`clock` gives monotonic seconds, `wall` UTC milliseconds; `sharing` has this node's part of
    the rates, where it is one of several."""

    def __init__(
        self,
        permits: PermitStore,
        clock: Callable[[], float],
        wall: Callable[[], int],
        sharing: Sharing | None = None,
    ) -> None:
        self._store = permits
        self._clock = clock
        self._calendar = Calendar(clock, wall)
        self._sharing = sharing
        self._gates = Gates(
            clock,
            lambda key, limit: QuotaLedger(
                key, limit, permits, self._calendar.now, is_shared=sharing is not None
            ),
            sharing,
        )

    def configure(self, specs: Mapping[str, Limit]) -> None:
        """Put `specs` in force. Keys that stay keep what they have spent, at the new rate.

        Keys that `specs` does not list but has a limit for are those of lines: they are made when
        they are asked for, and forgotten after use.
        """
        self._gates.configure(specs)

    def override(self, key: str, limit: Limit | None) -> None:
        """Put a limit in force that comes and goes at run time (None: goes); see
        `relay.limits.specs`. It stays over `configure`. Whoever is to ask for it must be told."""
        self._gates.override(key, limit)

    @property
    def overrides(self) -> Mapping[str, Limit]:
        """The limits of `override` that are in force."""
        return self._gates.overrides

    async def charge(
        self,
        keys: Iterable[str],
        n: int,
        *,
        queue: bool | Collection[str],
        patience: float = inf,
    ) -> Decision:
        """Acceptance: charge `n` recipients to all of `keys`, or to none.

        `queue` names the keys that may delay (True: all, False: none): they are charged at the
        time when the message may go, unless that is more than `patience` seconds away. Any other
        key that is not free refuses, with the delay after which it will be.
        """
        gates = self._limited(keys)
        if not gates:
            return NOW
        return await self._charge(gates, n, queue, patience, Terms())

    async def admit(self, keys: Iterable[str], n: int) -> Decision:
        """Delivery: `n` recipients may go now, and are charged; or not before `delay_s` from now,
        and nothing is."""
        return await self.charge(keys, n, queue=False)

    async def lease(self, request: LeaseRequest) -> Lease:
        """Charge the messages that wait with a worker, one after the other, and lend it what can
        be spared besides. What is no longer limited here goes freely."""
        gates = self._limited(request.keys)
        for returned in request.returned:
            self.give_back(returned)
        terms = Terms(request.hold, ahead=sum(ask.n for ask in request.asks))
        decisions = []
        for ask in request.asks:
            terms.ahead -= ask.n
            decisions.append(
                await self._charge(gates, ask.n, request.queue, ask.patience, terms)
                if gates
                else NOW
            )
        terms.agree(self._clock())
        extra = request.extra if decisions[-1].now else 0
        return Lease(
            tuple(decisions),
            lend(gates, extra, self._clock(), terms.until),
            terms.until,
            tuple(self._block(key) for key in request.keys),
        )

    def _block(self, key: str) -> int:
        gate = self._gates.known(key)
        return 0 if gate is None or gate.quota is None else gate.quota.block

    def give_back(self, returned: Returned) -> None:
        """Permits that were lent, or granted too late to be used, come back unspent."""
        now = self._clock()
        for key, block in zip(returned.keys, returned.blocks, strict=True):
            gate = self._gates.known(key)
            if gate is not None and gate.pace is not None:
                gate.pace.restore(returned.n, now, returned.until)
            ledger = self._gates.ledger(key)
            if ledger is not None and block:
                ledger.restore(returned.n, block)

    def _limited(self, keys: Iterable[str]) -> list[Gate]:
        return [gate for key in keys if (gate := self._gates.find(key)) is not None]

    async def _charge(
        self,
        gates: list[Gate],
        n: int,
        queue: bool | Collection[str],
        patience: float,
        terms: Terms,
    ) -> Decision:
        patiences = [
            patience if queue is True or (queue is not False and gate.key in queue) else 0.0
            for gate in gates
        ]
        refusal = self._known_refusal(gates, patiences)
        if refusal is None and self._sharing is not None:
            refusal = await self._sharing.refusal([g.share for g in gates if g.share is not None])
        refusal = refusal or self._too_fast(gates, patiences)
        if refusal is not None:
            return refusal
        spent: list[Spent] = []
        decision = await self._spend_quotas(gates, patiences, n, spent, terms.ahead)
        if decision.charged:
            # The store may have taken its time: ask the rates again before they are charged.
            refusal = self._too_fast(gates, patiences)
            if refusal is None:
                return self._spend_rates(gates, n, decision, terms)
            decision = refusal
        for one in spent:
            await one.ledger.give_back(n, one.grant, one.block)
        return decision

    def _known_refusal(self, gates: list[Gate], patiences: list[float]) -> Decision | None:
        """A quota that is known to be used up; it is told before the rate, as SES does."""
        for gate, patience in zip(gates, patiences, strict=True):
            if gate.quota is not None and (grant := gate.quota.refusal()) is not None:
                decision = self._of_grant(gate.key, grant)
                if grant.failed or decision.delay_s > patience:
                    return decision
        return None

    def _too_fast(self, gates: list[Gate], patiences: list[float]) -> Decision | None:
        """The slowest of the rates that are not free and may not delay for so long."""
        now = self._clock()
        worst: Decision | None = None
        for gate, patience in zip(gates, patiences, strict=True):
            if gate.pace is None:
                continue
            if gate.share is not None and self._sharing is not None:
                delay = self._sharing.wait(gate.share, patience)
                is_free = not delay
            else:
                delay = gate.pace.ready_at(now) - now
                is_free = delay <= patience
            if not is_free and (worst is None or delay > worst.delay_s):
                worst = Decision(delay, gate.key, "rate", charged=False)
        return worst

    async def _spend_quotas(
        self,
        gates: list[Gate],
        patiences: list[float],
        n: int,
        spent: list[Spent],
        ahead: int,
    ) -> Decision:
        """Charge the quotas, one after the other, noting each in `spent`; stop at the first that
        refuses. Whoever is cancelled meanwhile leaves no local permit behind."""
        slowest = NOW
        try:
            for gate, patience in zip(gates, patiences, strict=True):
                ledger = gate.quota
                if ledger is None:
                    continue
                grant = AT_ONCE
                if not ledger.take(n):
                    grant = await ledger.lease(n, patience * 1000, ahead)
                if not grant.charged:
                    return self._of_grant(gate.key, grant)
                spent.append(Spent(ledger, grant, ledger.block))
                if grant.at:
                    slowest = _slower(slowest, self._of_grant(gate.key, grant))
        except BaseException:
            for one in spent:
                one.ledger.undo(n, one.grant, one.block)
            raise
        return slowest

    def _spend_rates(self, gates: list[Gate], n: int, slowest: Decision, terms: Terms) -> Decision:
        now = self._clock()
        terms.agree(now)
        for gate in gates:
            if gate.pace is not None:
                if gate.share is not None:
                    gate.share.spent += n
                delay = gate.pace.take(n, now, now + terms.hold) - now
                if delay > slowest.delay_s:
                    slowest = Decision(delay, gate.key, "rate")
        return slowest

    def _of_grant(self, key: str, grant: Grant) -> Decision:
        delay = max(0, grant.at - self._calendar.now()) / 1000
        return Decision(delay, key, "store" if grant.failed else "quota", grant.charged)

    async def levels(self, keys: Iterable[str] | None = None) -> list[Level]:
        """How full the limits of `keys` are (None: all); keys without limits are left out.

        Raises `StoreError` where the store cannot say what is used of a quota.
        """
        gates = list(self._gates) if keys is None else self._limited(keys)
        quotas = [gate.key for gate in gates if gate.quota is not None]
        today = self._calendar.now()
        used = await self._store.permits_used(quotas, DAY_MS, today) if quotas else {}
        levels = []
        now = self._clock()
        for gate in gates:
            if gate.pace is not None:
                rate, share = gate.limit.rate or gate.pace.rate, gate.share
                free_at = today + round((gate.pace.ready_at(now) - now) * 1000)
                levels.append(
                    Level(
                        gate.key,
                        "rate",
                        rate.count,
                        rate.seconds,
                        gate.pace.used(now),
                        free_at,
                        None if share is None else share.held,
                    )
                )
            if gate.quota is not None:
                count = max(0, used.get(gate.key, 0) - gate.quota.free)
                free_at = await gate.quota.free_at() if count >= gate.quota.limit else today
                levels.append(
                    Level(gate.key, "quota", gate.quota.limit, DAY_MS // 1000, count, free_at)
                )
        return levels

    async def tidy(self) -> None:
        """Give back what lies unspent for long, and forget lines that are not in use."""
        await self.give_back_old()
        self._gates.forget_idle()

    async def give_back_old(self) -> None:
        """Give back the permits of quotas that nobody has spent in time. Those that the store
        cannot take now stay counted until the next time."""
        for ledger in self._gates.ledgers():
            with suppress(StoreError):
                await ledger.give_back_old()

    async def close(self) -> None:
        """Give unused permits back. Raises the first `StoreError`, after having tried them all;
        what could not be given back stays counted until it leaves the window."""
        failure: StoreError | None = None
        for ledger in self._gates.ledgers():
            try:
                await ledger.close()
            except StoreError as error:
                failure = failure or error
        if failure is not None:
            raise failure


def _slower(one: Decision, other: Decision) -> Decision:
    return other if other.delay_s > one.delay_s else one

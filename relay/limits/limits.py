"""All limits of the relay: may this message go, and if not now, when?

Owns the state of every limited key (see `relay.limits.specs`): its pace and its quota ledger. A
message is charged to all of its keys or to none. Nothing here sleeps; the answer is a `Decision`
and the caller waits, refuses or goes on. Where the store that keeps the quotas fails nothing is let
through (`kind` is `store`); no exception of the store reaches the caller of `charge` or `admit`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol

from relay.limits.calendar import Calendar
from relay.limits.pace import Pace
from relay.limits.quota import AT_ONCE, DAY_MS, Grant, PermitSource, QuotaLedger
from relay.limits.specs import Limit, config_limits
from relay.store.interface import StoreError

__all__ = ["Decision", "Level", "Limit", "Limits", "PermitStore", "config_limits"]

Kind = Literal["rate", "quota", "store", ""]


class PermitStore(PermitSource, Protocol):
    """What the limits need of the store (a part of `relay.store.interface.PermitStore`)."""

    async def permits_used(self, keys: Sequence[str], window: int, now: int) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True)
class Decision:
    """`charged`: the message may go `delay_s` seconds from now (0: at once). Otherwise nothing was
    charged, and it is worth asking again after `delay_s`. `limited_by` is the key that decided,
    `kind` which of its limits; both empty where nothing limits."""

    delay_s: float = 0.0
    limited_by: str = ""
    kind: Kind = ""
    charged: bool = True

    @property
    def now(self) -> bool:
        """The message may go at once."""
        return self.charged and self.delay_s <= 0


@dataclass(frozen=True, slots=True)
class Level:
    """How full one limit is. `used` permits of `limit` in the last `seconds`, permits leased and
    unspent not counted; the next one is free at `free_at` (UTC ms; not in the future: now)."""

    key: str
    kind: Literal["rate", "quota"]
    limit: int
    seconds: int
    used: int
    free_at: int


_NOW = Decision()


@dataclass(slots=True)
class _Gate:
    """One limited key."""

    key: str
    limit: Limit
    pace: Pace | None = None
    quota: QuotaLedger | None = None


class Limits:
    """`clock` gives monotonic seconds, `wall` UTC milliseconds."""

    def __init__(
        self, permits: PermitStore, clock: Callable[[], float], wall: Callable[[], int]
    ) -> None:
        self._store = permits
        self._clock = clock
        self._calendar = Calendar(clock, wall)
        self._gates: dict[str, _Gate] = {}
        self._retired: dict[str, QuotaLedger] = {}  # no limit now, but permits to give back

    def configure(self, specs: Mapping[str, Limit]) -> None:
        """Put `specs` in force. Keys that stay keep what they have spent, at the new rate."""
        known = self._gates
        self._gates = {key: self._gate(key, limit, known.get(key)) for key, limit in specs.items()}
        for key, gate in known.items():
            kept = self._gates.get(key)
            if gate.quota is not None and (kept is None or kept.quota is None):
                self._retired[key] = gate.quota

    def _gate(self, key: str, limit: Limit, known: _Gate | None) -> _Gate:
        gate = _Gate(key, limit)
        now = self._clock()
        if limit.rate is not None:
            if known is not None and known.pace is not None and known.limit.strict == limit.strict:
                gate.pace = known.pace
                gate.pace.adapt(limit.rate, now=now)
            else:
                gate.pace = Pace(limit.rate, strict=limit.strict, now=now)
        if limit.quota is not None:
            ledger = known.quota if known is not None else None
            gate.quota = (
                ledger
                or self._retired.pop(key, None)
                or QuotaLedger(key, limit.quota, self._store, self._calendar.now)
            )
            gate.quota.limit = limit.quota
        return gate

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
        gates = [gate for key in keys if (gate := self._gates.get(key)) is not None]
        if not gates:
            return _NOW
        patiences = [
            patience if queue is True or (queue is not False and gate.key in queue) else 0.0
            for gate in gates
        ]
        refusal = self._known_refusal(gates, patiences) or self._too_fast(gates, patiences)
        if refusal is not None:
            return refusal
        grants: list[tuple[QuotaLedger, Grant]] = []
        decision = await self._spend_quotas(gates, patiences, n, grants)
        if decision.charged:
            # The store may have taken its time: ask the rates again before they are charged.
            refusal = self._too_fast(gates, patiences)
            if refusal is None:
                return self._spend_rates(gates, n, decision)
            decision = refusal
        await _give_back(grants, n)
        return decision

    async def admit(self, keys: Iterable[str], n: int) -> Decision:
        """Delivery: `n` recipients may go now, and are charged; or not before `delay_s` from now,
        and nothing is."""
        return await self.charge(keys, n, queue=False)

    def _known_refusal(self, gates: list[_Gate], patiences: list[float]) -> Decision | None:
        """A quota that is known to be used up; it is told before the rate, as SES does."""
        for gate, patience in zip(gates, patiences, strict=True):
            if gate.quota is not None and (grant := gate.quota.refusal()) is not None:
                decision = self._of_grant(gate.key, grant)
                if grant.failed or decision.delay_s > patience:
                    return decision
        return None

    def _too_fast(self, gates: list[_Gate], patiences: list[float]) -> Decision | None:
        """The slowest of the rates that are not free and may not delay for so long."""
        now = self._clock()
        worst: Decision | None = None
        for gate, patience in zip(gates, patiences, strict=True):
            if gate.pace is None:
                continue
            delay = gate.pace.ready_at(now) - now
            if delay > patience and (worst is None or delay > worst.delay_s):
                worst = Decision(delay, gate.key, "rate", charged=False)
        return worst

    async def _spend_quotas(
        self,
        gates: list[_Gate],
        patiences: list[float],
        n: int,
        grants: list[tuple[QuotaLedger, Grant]],
    ) -> Decision:
        """Charge the quotas, one after the other, noting each in `grants`; stop at the first that
        refuses. Whoever is cancelled meanwhile leaves no local permit behind."""
        slowest = _NOW
        try:
            for gate, patience in zip(gates, patiences, strict=True):
                ledger = gate.quota
                if ledger is None:
                    continue
                grant = AT_ONCE if ledger.take(n) else await ledger.lease(n, patience * 1000)
                if not grant.charged:
                    return self._of_grant(gate.key, grant)
                grants.append((ledger, grant))
                if grant.at:
                    slowest = _slower(slowest, self._of_grant(gate.key, grant))
        except BaseException:
            for ledger, grant in grants:
                ledger.restore(n, grant)
            raise
        return slowest

    def _spend_rates(self, gates: list[_Gate], n: int, slowest: Decision) -> Decision:
        now = self._clock()
        for gate in gates:
            if gate.pace is not None:
                delay = gate.pace.take(n, now) - now
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
        wanted = self._gates if keys is None else keys
        gates = [gate for key in wanted if (gate := self._gates.get(key)) is not None]
        quotas = [gate.key for gate in gates if gate.quota is not None]
        today = self._calendar.now()
        used = await self._store.permits_used(quotas, DAY_MS, today) if quotas else {}
        levels = []
        now = self._clock()
        for gate in gates:
            if gate.pace is not None:
                rate = gate.pace.rate
                free_at = today + round((gate.pace.ready_at(now) - now) * 1000)
                levels.append(
                    Level(gate.key, "rate", rate.count, rate.seconds, gate.pace.used(now), free_at)
                )
            if gate.quota is not None:
                count = max(0, used.get(gate.key, 0) - gate.quota.free)
                free_at = await gate.quota.free_at() if count >= gate.quota.limit else today
                levels.append(
                    Level(gate.key, "quota", gate.quota.limit, DAY_MS // 1000, count, free_at)
                )
        return levels

    async def close(self) -> None:
        """Give unused permits back. Raises the first `StoreError`, after having tried them all;
        what could not be given back stays counted until it leaves the window."""
        failure: StoreError | None = None
        ledgers = [gate.quota for gate in self._gates.values() if gate.quota is not None]
        for ledger in [*ledgers, *self._retired.values()]:
            try:
                await ledger.close()
            except StoreError as error:
                failure = failure or error
        if failure is not None:
            raise failure


def _slower(one: Decision, other: Decision) -> Decision:
    return other if other.delay_s > one.delay_s else one


async def _give_back(grants: list[tuple[QuotaLedger, Grant]], n: int) -> None:
    for ledger, grant in grants:
        await ledger.give_back(n, grant)

"""Which source addresses of a pool are warming up, and which of them may be chosen now.

A warming address is chosen first while its allowance has room, so that the allowance is used, and
not at all when it has none, so that no mail waits for it where warm addresses of the pool may take
it. How much room there is the limits know (`relay.limits.warmup`); what is kept here is only a
guess, so that mail does not open a connection from an address from which it may not go: each choice
is spaced by the allowance's rate, and a refusal closes the address until its time.

Where the pool says `wait`, an address keeps what falls to it by weight, always the same mail.

Plain state and decisions on it, on the caller's monotonic seconds; one for each configuration and
each day of a warm-up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from relay.config.model import Config
from relay.delivery.pacing import KEEP_SECONDS
from relay.limits.gatekeeper import Decision, Kind
from relay.limits.specs import Limit
from relay.limits.warmup import warmup_key, warmup_keys
from relay.routing.plan import Candidate, Plan
from relay.routing.sources import choose_source
from relay.store.values import Delivery

_NOTHING: frozenset[str] = frozenset()
_FREELY = (_NOTHING,)


@dataclass(slots=True)
class _Pool:
    """The addresses of a pool that are warming up, and whether what exceeds that waits."""

    warming: frozenset[str]
    waits: bool
    _candidates: tuple[Candidate, ...] = ()
    _warm: frozenset[str] = _NOTHING

    def warm(self, plan: Plan) -> frozenset[str]:
        """The addresses that are warm and can be used. Plans share their candidates until one of
        them fails or comes back."""
        if plan.candidates is not self._candidates:
            self._candidates = plan.candidates
            self._warm = frozenset(
                c.address for c in plan.eligible if c.weight and c.address not in self.warming
            )
        return self._warm

    def overflows(self, plan: Plan) -> bool:
        """Whether warm addresses take what a warm-up does not allow."""
        return not self.waits and bool(self.warm(plan))


@dataclass(slots=True)
class _Room:
    """What is believed of one key."""

    interval: float  # seconds between two recipients
    hourly: int  # recipients that may go in an hour
    opens: float = 0.0  # as the spacing has it
    refused_until: float = 0.0  # as the limits said
    far: float = 0.0  # when the next delivery that waits for it in the store is due
    kind: Kind = ""

    def is_open(self, n: int, now: float) -> bool:
        """Whether a delivery to `n` recipients may be tried. One to many goes whole where a single
        permit is free; more than an hour's worth at once would be no warm-up."""
        return n <= self.hourly and now >= self.opens and now >= self.refused_until


@dataclass(slots=True)
class Warming:
    """All warm-ups that are in force."""

    _pools: dict[str, _Pool] = field(default_factory=dict)
    _rooms: dict[str, _Room] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, limits: Mapping[str, Limit]) -> "Warming":
        """Those of a configuration, where `limits` are all that are in force."""
        pools = {}
        for name, pool in config.pools.items():
            addresses = (str(source.address) for source in pool.sources)
            warming = frozenset(a for a in addresses if warmup_key(a) in limits)
            if warming:
                pools[name] = _Pool(warming, pool.when_warming == "wait")
        rooms = {
            key: _Room(1.0 / limit.rate.per_second, limit.rate.count * 3600 // limit.rate.seconds)
            for key, limit in limits.items()
            if key.startswith("warmup:") and limit.rate is not None
        }
        return cls(pools, rooms)

    def rounds(
        self, plan: Plan, provider: str, delivery: Delivery, now: float
    ) -> tuple[frozenset[str], ...]:
        """The addresses to keep off while a source is chosen, in rounds: a later one counts where
        an earlier one leaves nothing to choose from."""
        pool = self._pools.get(plan.pool)
        if pool is None:
            return _FREELY
        warm = pool.warm(plan)
        if pool.waits:
            # Always the same choice, or what is placed anew again and again would end up warm.
            fallen = choose_source(plan, Random(delivery.id))  # noqa: S311 - not a secret
            is_warm = fallen is None or fallen.address in warm
            return (pool.warming if is_warm else warm,)
        n = len(delivery.recipients)
        roomy = frozenset(a for a in pool.warming if self._is_open(a, provider, n, now))
        closed = pool.warming - roomy
        if not warm:
            return (closed, _NOTHING)
        return (warm | closed, pool.warming, _NOTHING) if roomy else (pool.warming, _NOTHING)

    def chosen(self, plan: Plan, address: str, provider: str, n: int, now: float) -> None:
        """A delivery to `n` recipients is to leave from an address."""
        pool = self._pools.get(plan.pool)
        if pool is None or address not in pool.warming or not pool.overflows(plan):
            return
        for _, room in self._rooms_of(address, provider):
            room.opens = max(room.opens, now) + n * room.interval

    def refused(self, decision: Decision, plan: Plan, now: float) -> bool:
        """A limit has refused a delivery. True where it was that of a warm-up, and what waits is to
        be placed anew: warm addresses of the pool take it at once, or it waits in the store."""
        room = self._rooms.get(decision.limited_by)
        if room is None:
            return False
        room.refused_until, room.kind = now + decision.delay_s, decision.kind
        pool = self._pools.get(plan.pool)
        if pool is None or not pool.warm(plan):
            return False
        return not pool.waits or decision.delay_s > KEEP_SECONDS

    def put_off(self, refusal: Decision, plan: Plan, n: int, now: float) -> float:
        """For how many seconds a delivery to `n` recipients is to wait in the store for an address
        that it fell to; 0 where it waits like any other mail under a limit.

        Other mail of its set and domain may leave from warm addresses, so it must not stand in its
        way; and each is due when it may go, behind those before it, so that not all ask at once.
        """
        room, pool = self._rooms.get(refusal.limited_by), self._pools.get(plan.pool)
        if room is None or pool is None or not pool.waits or not pool.warm(plan):
            return 0.0
        if refusal.delay_s <= KEEP_SECONDS:
            return 0.0
        at = max(room.far, now + refusal.delay_s)
        room.far = at + n * room.interval
        return at - now

    def standing_refusal(self, address: str, provider: str, now: float) -> Decision | None:
        """What the limits last said of an address, where it still holds."""
        for key, room in self._rooms_of(address, provider):
            if room.refused_until > now:
                return Decision(room.refused_until - now, key, room.kind, charged=False)
        return None

    def _is_open(self, address: str, provider: str, n: int, now: float) -> bool:
        return all(room.is_open(n, now) for _, room in self._rooms_of(address, provider))

    def _rooms_of(self, address: str, provider: str) -> list[tuple[str, _Room]]:
        if not self._rooms:
            return []
        keys = warmup_keys(address, provider)
        return [(key, room) for key in keys if (room := self._rooms.get(key)) is not None]

"""The gates of all limited keys: those that a configuration names, and those of lines.

Owns which limit is in force for a key, and when what was counted for it is forgotten. There is no
end of lines, so their gates are made when they are asked for and forgotten once nothing is counted
any more. A gate that is made begins closed for a moment if its limit may have been in force before
(see `relay.limits.pace`), and with nothing spent otherwise.
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from relay.limits.gate import Gate
from relay.limits.pace import Pace
from relay.limits.quota import QuotaLedger
from relay.limits.sharing import Sharing
from relay.limits.specs import Limit, rate_alone, rate_key

MOST_LINES = 100_000  # gates of lines; about 1 KB each

LedgerMaker = Callable[[str, int], QuotaLedger]


class Gates:
    """`clock` gives monotonic seconds, `make_ledger` the ledger of a key for a quota; `sharing` has
    the shares of rates where other nodes have some too."""

    def __init__(
        self,
        clock: Callable[[], float],
        make_ledger: LedgerMaker,
        sharing: Sharing | None = None,
    ) -> None:
        self._clock = clock
        self._sharing = sharing
        self._make_ledger = make_ledger
        self._specs: Mapping[str, Limit] = {}
        self.overrides: dict[str, Limit] = {}
        self._named: dict[str, Gate] = {}
        self._rates: dict[str, Gate] = {}  # of named ones; what they spend is theirs
        self._lines: dict[str, Gate] = {}
        self._since = clock()  # when a limit of a line that is asked for now came into force
        self._retired: dict[str, QuotaLedger] = {}  # no limit now, but permits to give back

    def __iter__(self) -> Iterator[Gate]:
        yield from self._named.values()
        yield from self._lines.values()

    def __len__(self) -> int:
        return len(self._named) + len(self._lines)

    def configure(self, specs: Mapping[str, Limit]) -> None:
        """Put `specs` in force. Keys that stay keep what they have spent, at the new rate."""
        self._specs, self._since = specs, self._clock()
        limits = ChainMap(self.overrides, specs)  # type: ignore[arg-type]  # only read
        named, lines = self._named, self._lines
        self._named = {key: self._gate(key, limit, named.get(key)) for key, limit in specs.items()}
        self._lines = {
            key: self._gate(key, limit, gate)
            for key, gate in lines.items()
            if (limit := limits.get(key)) is not None
        }
        self._rates = {
            rate_key(key): Gate(rate_key(key), alone, gate.pace, share=gate.share)
            for key, gate in self._named.items()
            if (alone := rate_alone(gate.limit)) is not None
        }
        for gate in (*named.values(), *lines.values()):
            self._retire(gate)

    def override(self, key: str, limit: Limit | None) -> None:
        """Put a limit in force for a key that no configuration names; None: it has none again.
        What was spent stays spent, as long as there is one."""
        if limit is not None:
            self.overrides[key] = limit
            self._lines[key] = self._gate(key, limit, self._lines.get(key))
            return
        self.overrides.pop(key, None)
        gate = self._lines.pop(key, None)
        if gate is not None:
            self._retire(gate)

    def find(self, key: str) -> Gate | None:
        """The gate of a key; None where nothing limits it."""
        gate = self.known(key)
        if gate is None:
            limit = self._specs.get(key)
            if limit is not None:
                if len(self._lines) >= MOST_LINES:
                    self._make_room()
                gate = self._lines[key] = self._gate(key, limit, None, self._since)
        return gate

    def known(self, key: str) -> Gate | None:
        """The gate of a key, where there is one."""
        return self._named.get(key) or self._lines.get(key) or self._rates.get(key)

    def ledger(self, key: str) -> QuotaLedger | None:
        """The ledger of a key, also where its quota is not in force any more."""
        gate = self.known(key)
        return self._retired.get(key) if gate is None else gate.quota

    def ledgers(self) -> list[QuotaLedger]:
        """All of them."""
        return [gate.quota for gate in self if gate.quota] + list(self._retired.values())

    def forget_idle(self) -> None:
        """Forget lines of which nothing is counted any more, and ledgers that owe nothing."""
        now = self._clock()
        idle = [
            key
            for key, gate in self._lines.items()
            if key not in self.overrides and gate.is_idle(now)
        ]
        for key in idle:
            del self._lines[key]
        self._retired = {key: one for key, one in self._retired.items() if not one.is_idle}

    def _make_room(self) -> None:
        """More lines are in use than anyone can have foreseen: the oldest are forgotten, and begin
        as after a start where they are met again."""
        self.forget_idle()
        excess = len(self._lines) - MOST_LINES + MOST_LINES // 10
        oldest = [key for key in self._lines if key not in self.overrides]
        for key in islice(oldest, max(0, excess)):
            self._retire(self._lines.pop(key))
            self._since = self._clock()

    def _gate(self, key: str, limit: Limit, known: Gate | None, since: float | None = None) -> Gate:
        """`since`: when the limit came into force, where that was not now."""
        gate = Gate(key, limit)
        now = self._clock()
        if limit.rate is not None and self._sharing is not None:
            gate.share = self._sharing.rate(
                key,
                limit.rate,
                None if known is None else known.share,
                strict=limit.strict,
            )
            gate.pace = gate.share.pace
        elif limit.rate is not None:
            if known is not None and known.pace is not None and known.limit.strict == limit.strict:
                gate.pace = known.pace
                gate.pace.adapt(limit.rate, now=now)
            else:
                gate.pace = Pace(
                    limit.rate, strict=limit.strict, now=now if since is None else since
                )
        if limit.quota is not None:
            ledger = known.quota if known is not None else None
            gate.quota = (
                ledger or self._retired.pop(key, None) or self._make_ledger(key, limit.quota)
            )
            gate.quota.limit = limit.quota
        return gate

    def _retire(self, gate: Gate) -> None:
        """Keep the ledger of a gate that is in force no more: it may have permits to give back."""
        kept = self.known(gate.key)
        if gate.quota is not None and (kept is None or kept.quota is None):
            self._retired[gate.key] = gate.quota

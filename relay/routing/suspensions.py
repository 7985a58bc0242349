"""Which mail operators have ordered to wait (`relay suspend`): the orders in force, and whom they
mean. Pure; the store keeps the orders, the supervisor ends them.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from relay.routing.plan import Plan
from relay.store.values import Suspension


class Suspensions:
    """The orders that are in force. A value: a change makes a new one."""

    def __init__(self, entries: Iterable[Suspension] = ()) -> None:
        self.entries = tuple(entries)
        self._by_key = {entry.key: entry for entry in self.entries}

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __repr__(self) -> str:
        return f"<Suspensions {list(self._by_key)}>"

    def of(
        self, configuration_set: str, credential: str, domain: str, plan: Plan, provider: str = ""
    ) -> tuple[Suspension, ...]:
        """The orders that together make mail wait which would go by `plan`; none where it may go.

        `provider` is the one that has the domain's mail, `""` where none is known.
        """
        if not self._by_key:
            return ()
        direct = self._direct(configuration_set, credential, domain, provider)
        return direct[:1] or self._of_sources(plan)

    def all_of(
        self, configuration_set: str, credential: str, domain: str, plan: Plan, provider: str = ""
    ) -> tuple[Suspension, ...]:
        """Every order that makes such mail wait, for people: lifting one of them may not be enough.
        The one that holds it for longest comes first; where no source is left that is the source
        which is resumed first, and the others are at the end."""
        direct = self._direct(configuration_set, credential, domain, provider)
        sources = self._of_sources(plan)
        longest = sorted((*direct, *sources[:1]), key=_ends_at, reverse=True)
        return (*longest, *sources[1:])

    def _direct(
        self, configuration_set: str, credential: str, domain: str, provider: str
    ) -> tuple[Suspension, ...]:
        keys = (
            f"set:{configuration_set}",
            f"domain:{domain}",
            f"credential:{credential}",
            f"provider:{provider}",
        )
        known = self._by_key
        return tuple([known[key] for key in keys if key in known])

    def _of_sources(self, plan: Plan) -> tuple[Suspension, ...]:
        """The orders that leave a plan without a source, the one that ends first at the head.

        Where a source is missing for another reason there are none: it may be back at any time.
        """
        if plan.eligible:
            return ()
        found = []
        for candidate in plan.candidates:
            entry = self._by_key.get(f"source:{candidate.address}")
            if entry is not None:
                found.append(entry)
            elif candidate.weight:
                return ()
        return tuple(sorted(found, key=_ends_at))

    @property
    def sources(self) -> Mapping[str, str]:
        """The addresses that are not to send, each with why, as a clause."""
        return {e.name: described(e) for e in self.entries if e.kind == "source"}


def described(suspension: Suspension) -> str:
    """Who has suspended it, why, and until when, as a clause."""
    until = "until it is resumed"
    if suspension.until is not None:
        until = f"until {datetime.fromtimestamp(suspension.until / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"
    return f"suspended by {suspension.by} {until}: {suspension.reason}"


def _ends_at(suspension: Suspension) -> float:
    return float("inf") if suspension.until is None else suspension.until

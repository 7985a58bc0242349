"""Every lane, way and site that is in use, found by what they are for, and forgotten after use."""

from collections.abc import Iterator

from relay.delivery.lanes import Lane, Site, Way
from relay.delivery.path import Path
from relay.limits.specs import delivery_keys
from relay.routing.plan import Candidate, Plan
from relay.store.values import Delivery

_MOST_REMEMBERED = 10_000  # ways that are not in use


class Ways:
    """Plain maps; nothing is decided here. `limited` are the keys that have a limit: a lane asks
    for no others, and one without any asks nothing."""

    def __init__(self) -> None:
        self.limited: frozenset[str] = frozenset()
        self._ways: dict[Path, Way] = {}
        self._sites: dict[str, Site] = {}
        self._lanes: dict[tuple[str, ...], Lane] = {}

    def __repr__(self) -> str:
        waiting = sum(way.waiting for way in self._ways.values())
        return f"<Ways {len(self._ways)} ways, {len(self._lanes)} lanes, {waiting} waiting>"

    def __iter__(self) -> Iterator[Way]:
        return iter(tuple(self._ways.values()))

    def lanes(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def lane(self, plan: Plan, candidate: Candidate, domain: str) -> Lane:
        """The lane for mail to `domain` by `plan` from `candidate`; made where there is none."""
        domain = domain if plan.route.kind == "mx" else ""
        address = candidate.address
        key = (plan.configuration_set, address, domain, plan.route.match)
        lane = self._lanes.get(key)
        if lane is None:
            path = Path(address, candidate.family, candidate.ehlo, plan.route, domain)
            way = self._way(path)
            keys = delivery_keys(plan.configuration_set, plan.pool, address)
            limited = tuple([key for key in keys if key in self.limited])
            lane = self._lanes[key] = Lane(plan.configuration_set, plan.pool, way, limited)
            way.lanes[key] = lane
        return lane

    def _way(self, path: Path) -> Way:
        way = self._ways.get(path)
        if way is None:
            site = self._sites.setdefault(path.site, Site(path.site))
            way = self._ways[path] = Way(path, site)
        return way

    def take_all(self) -> list[Delivery]:
        """Everything that waits, out of its lanes."""
        return [delivery for way in self for delivery in way.take_all()]

    def retire_all(self) -> list[Delivery]:
        """Begin anew, as after a reload: what waited, and no way that anything may wait on.

        Connections that are open serve the old ways until they close.
        """
        waiting = self.take_all()
        for way in self:
            way.retired = True
            for lane in way.lanes.values():
                _cancel_timer(lane)
        self._ways, self._sites, self._lanes = {}, {}, {}
        return waiting

    def forget_idle(self, now: float) -> None:
        """Forget ways without mail and connections, but for those that were down lately."""
        for path, way in list(self._ways.items()):
            if way.is_idle and not way.wanting and not self._remembers(way, now):
                self._forget(path, way)

    def _remembers(self, way: Way, now: float) -> bool:
        """A way that was down stays known for a while: its next failure counts for more."""
        if way.down_until > now:
            return True
        return now < way.down_until + 4 * way.back_off and len(self._ways) < _MOST_REMEMBERED

    def _forget(self, path: Path, way: Way) -> None:
        del self._ways[path]
        for key, lane in way.lanes.items():
            self._lanes.pop(key, None)
            _cancel_timer(lane)
        if not way.site.connections and not way.site.wanting:
            self._sites.pop(way.site.key, None)


def _cancel_timer(lane: Lane) -> None:
    if lane.timer is not None:
        lane.timer.cancel()
        lane.timer = None

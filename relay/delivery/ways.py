"""Every lane, way and line that is in use, found by what they are for, and forgotten after use."""

from collections.abc import Iterator, Mapping

from relay.delivery.lanes import Lane, LaneKey, Line, Way
from relay.delivery.path import Path
from relay.limits.shapes import Shape, Shapes
from relay.limits.specs import Limit, delivery_keys, line_key, path_keys, temper_key
from relay.limits.warmup import warmup_keys
from relay.routing.plan import Candidate, Plan
from relay.routing.sites import Site
from relay.store.values import Delivery

_MOST_REMEMBERED = 10_000  # ways that are not in use
_INSIDE = Shape(connections=8, messages_per_connection=1_000)  # to the mailbox simulator


class Ways:
    """Plain maps; nothing is decided here. `limits` are those in force, and may change: a lane asks
    for those that it meets, and one that meets none asks nothing. `shapes` are set before use."""

    shapes: Shapes

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._limits = limits
        self._ways: dict[Path, Way] = {}
        self._lines: dict[str, Line] = {}
        self._lanes: dict[LaneKey, Lane] = {}

    def __repr__(self) -> str:
        waiting = sum(way.waiting for way in self._ways.values())
        return f"<Ways {len(self._ways)} ways, {len(self._lanes)} lanes, {waiting} waiting>"

    def __iter__(self) -> Iterator[Way]:
        return iter(tuple(self._ways.values()))

    def lanes(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def between(self, source: str, line: str) -> list[Way]:
        """The ways of one source to one line."""
        key = line_key(source, line)
        return [way for way in self._ways.values() if way.line.key == key]

    def lane(self, plan: Plan, candidate: Candidate, site: Site) -> Lane:
        """The lane for mail to `site` by `plan` from `candidate`; made where there is none."""
        key = (plan.configuration_set, plan.pool, candidate.address, site, plan.route.match)
        lane = self._lanes.get(key)
        if lane is None:
            path = Path(candidate.address, candidate.family, candidate.ehlo, plan.route, site)
            way = self._way(path)
            keys = self._limited(way, plan.configuration_set, plan.pool)
            lane = self._lanes[key] = Lane(plan.configuration_set, plan.pool, way, keys)
            way.lanes[key] = lane
        return lane

    def _way(self, path: Path) -> Way:
        way = self._ways.get(path)
        if way is None:
            line = self._lines.setdefault(path.line, Line(path.line))
            inside = path.site.kind == "simulator"
            shape = _INSIDE if inside else self.shapes.of(path.source, path.site.line)
            way = self._ways[path] = Way(path, line, shape)
        return way

    def _limited(self, way: Way, configuration_set: str, pool: str) -> tuple[str, ...]:
        """The keys that have a limit, of those that mail on a way is charged to. What goes no
        further than the mailbox simulator is charged to none."""
        source, site = way.path.source, way.path.site
        if site.kind == "simulator":
            return ()
        keys = (
            *delivery_keys(configuration_set, pool, source),
            *warmup_keys(source, site.provider),
            temper_key(source, site.line),
        )
        limited = tuple([key for key in keys if key in self._limits])
        return limited + path_keys(way.shape, source, site.line)

    def ask_anew(self, key: str) -> list[Lane]:
        """A limit that lanes meet has come, gone or changed: have them ask for those that there are
        now. The lanes that it is for."""
        lanes = []
        for way in self:
            if key == temper_key(way.path.source, way.path.site.line):
                for lane in way.lanes.values():
                    lane.keys = self._limited(way, lane.configuration_set, lane.pool)
                    lanes.append(lane)
        return lanes

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
        self._ways, self._lines, self._lanes = {}, {}, {}
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
        if not way.line.connections and not way.line.wanting:
            self._lines.pop(way.line.key, None)


def _cancel_timer(lane: Lane) -> None:
    if lane.timer is not None:
        lane.timer.cancel()
        lane.timer = None
    lane.held_by = lane.held_kind = ""

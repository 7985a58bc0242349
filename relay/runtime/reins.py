"""Where the supervisor holds a source back: its limits and its slots (`restraining.Reins`)."""

from math import inf
from typing import TYPE_CHECKING

from relay.limits.shapes import Shapes
from relay.limits.specs import Limit, line_key, temper_key
from relay.runtime.messages import HowMuchFlows, LimitChanged

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

_PATIENCE = 1.0  # seconds for workers to say what flowed; what a silent one sent is not counted


class SupervisorReins:
    """The reins of one relay."""

    def __init__(self, relay: "Supervisor") -> None:
        self._relay = relay

    def slow_down(self, source: str, line: str, limit: Limit | None) -> None:
        """Put a limit of its own in force, here and in what every worker asks for."""
        key = temper_key(source, line)
        self._relay.limiting.limits.override(key, limit)
        self._relay.staff.crew.tell(LimitChanged(key, limit))

    def fewer_connections(self, source: str, line: str, most: int | None) -> None:
        """Let the source have so many connections to the line; None: as many as configured."""
        self._relay.limiting.slots.restrict(line_key(source, line), most)

    def allowed(self, source: str, line: str) -> tuple[float, float]:
        """The lowest of the configured rates, in recipients per second, and the connections."""
        shape = Shapes(self._relay.config).of(source, line)
        rate = min((rate.per_second for rate in shape.rates), default=inf)
        return rate, float(shape.connections)

    def connected(self, source: str, line: str) -> int:
        """How many slots are in use, those of all workers."""
        return self._relay.limiting.slots.used(line_key(source, line))

    async def flowed(self, source: str, line: str) -> float:
        """What all workers together sent lately, in recipients per second."""
        return sum(await self._relay.staff.crew.ask(HowMuchFlows(source, line), _PATIENCE))

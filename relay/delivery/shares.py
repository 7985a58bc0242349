"""How much of the working set each configuration set may hold. Pure arithmetic.

A set may hold as much as is free, times its weight (a *dynamic threshold*, as in the buffers of
switches). So one that is alone takes half, and leaves the other half to whoever comes; of many that
want all, each has its part and there is still room for one more. A set under a rate of its own
holds no more than may go in half a minute.
"""

from collections import Counter

from relay.config.model import Config
from relay.delivery.pacing import KEEP_SECONDS

WEIGHTS = {"high": 16, "normal": 4, "low": 1}
NORMAL = WEIGHTS["normal"]
_LEAST = 10  # deliveries that a set under a limit may hold


class Shares:
    """What is held now, by set, and what may be."""

    def __init__(self, config: Config) -> None:
        self._held: Counter[str] = Counter()
        self._total = 0
        self.configure(config)

    def __len__(self) -> int:
        return self._total

    def configure(self, config: Config) -> None:
        """Put weights, limits and the size of the working set in force; what is held stays."""
        self.size = config.delivery.working_set
        self.weights = {
            name: WEIGHTS[chosen.priority]
            for name, chosen in config.configuration_sets.items()
            if chosen.priority != "normal"
        }
        self._most: dict[str, int] = {}
        for name, chosen in config.configuration_sets.items():
            rates = [r.per_second for r in (chosen.rate, config.pools[chosen.pool].rate) if r]
            if rates:
                self._most[name] = max(_LEAST, int(min(rates) * KEEP_SECONDS))

    def took(self, name: str) -> None:
        self._held[name] += 1
        self._total += 1

    def gave(self, name: str) -> None:
        left = self._held[name] - 1
        self._total -= 1
        if left:
            self._held[name] = left
        else:
            del self._held[name]

    def clear(self) -> None:
        """Nothing is held any more."""
        self._held.clear()
        self._total = 0

    def held(self, name: str) -> int:
        return self._held[name]

    def is_limited(self, name: str) -> bool:
        """Whether it has a rate, so that what is newer must wait behind what is older."""
        return name in self._most

    def room(self, name: str) -> int:
        """How many more a set may hold; with each of them there is one place less that is free."""
        held = self._held[name]
        weight = self.weights.get(name, NORMAL)
        room = (weight * (self.size - self._total) - NORMAL * held) // (NORMAL + weight)
        most = self._most.get(name)
        return room if most is None else min(room, most - held)

    def most(self, name: str) -> int:
        """How many a set may hold that is alone."""
        weight = self.weights.get(name, NORMAL)
        alone = weight * self.size // (NORMAL + weight)
        return max(1, min(alone, self._most.get(name, alone)))

    def rooms(self) -> dict[str, int]:
        """The room of each set that holds something, has a limit or a weight of its own."""
        names = {*self._held, *self._most, *self.weights}
        return {name: max(0, self.room(name)) for name in names}

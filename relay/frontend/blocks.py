"""Who is blocked after failed logins, and for how long. Pure; clock injected.

The guard decides on blocks where all failures are counted; every process that serves clients keeps
a table of those in force. A table is bounded: the block that began first is forgotten first.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

ENTRIES = 10_000

Kind = Literal["client", "user"]


@dataclass(frozen=True, slots=True)
class Block:
    """`key` is a client as `client_key` gives it, or a user name as `user_key` does."""

    kind: Kind
    key: str
    seconds: float


class Blocks:
    """The blocks in force."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[Kind, OrderedDict[str, float]] = {
            "client": OrderedDict(),
            "user": OrderedDict(),
        }

    def put(self, block: Block) -> None:
        """Block from now on, for its seconds."""
        table = self._until[block.kind]
        table[block.key] = self._clock() + block.seconds
        table.move_to_end(block.key)
        while len(table) > ENTRIES:
            table.popitem(last=False)

    def remaining(self, kind: Kind, key: str) -> float:
        """For how many seconds more; 0 where there is no block."""
        until = self._until[kind].get(key)
        if until is None:
            return 0.0
        seconds = until - self._clock()
        if seconds <= 0:
            del self._until[kind][key]
            return 0.0
        return seconds

    def in_force(self) -> tuple[Block, ...]:
        """All of them, for a process that has just begun."""
        now = self._clock()
        return tuple(
            Block(kind, key, until - now)
            for kind, table in self._until.items()
            for key, until in table.items()
            if until > now
        )

"""Who says whether a message may go, and the words in which it is said.

Admission and delivery ask a `Gatekeeper`. There are two: `Limits` (`relay.limits.limits`), the one
authority, and `LeasedLimits` (`relay.limits.leased`), which asks it from another process. Values
only; they go between processes as they are.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol

from relay.limits.specs import Limit

Kind = Literal["rate", "quota", "store", ""]


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


NOW = Decision()


@dataclass(frozen=True, slots=True)
class Level:
    """How full one limit is. `used` permits of `limit` in the last `seconds`, permits leased and
    unspent not counted; the next one is free at `free_at` (UTC ms; not in the future: now). Of a
    rate that several nodes share `share` is this node's part now, and `used` what it has used."""

    key: str
    kind: Literal["rate", "quota"]
    limit: int
    seconds: int
    used: int
    free_at: int
    share: int | None = None


class Gatekeeper(Protocol):
    """May this message go, and if not now, when? Nothing here raises but `levels` and `close`."""

    def configure(self, specs: Mapping[str, Limit]) -> None:
        """Put `specs` in force. Keys that stay keep what they have spent, at the new rate."""

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

    async def admit(self, keys: Iterable[str], n: int) -> Decision:
        """Delivery: `n` recipients may go now, and are charged; or not before `delay_s` from now,
        and nothing is."""

    async def levels(self, keys: Iterable[str] | None = None) -> list[Level]:
        """How full the limits of `keys` are (None: all); keys without limits are left out."""

    async def close(self) -> None:
        """Give unused permits back."""

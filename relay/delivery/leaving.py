"""Mail that other nodes are to carry, on its way back into the store.

That of a configuration set is left as due as it was: nodes that do not carry it pass the set over
when they claim. What an operator has moved lies among mail of its set that may stay, and would be
claimed again and again; so it is put off, with a word for its pool, by which a node that has
addresses of the pool finds it (`relay.delivery.taking_over`). So does mail that nobody can carry
now. The time after which it is looked at here again only counts where no node comes for it.
"""

from collections.abc import Callable
from random import Random

from relay.delivery.claims import Claims
from relay.routing.plan import Plan
from relay.store.fleet_values import NOWHERE
from relay.store.values import Delivery

_LOOKED_AT_AGAIN_MS = 900_000


class Leaving:
    """`elsewhere` is what other nodes carry now. `wall` gives UTC milliseconds; by `rng` it is not
    all due again in the same second."""

    def __init__(self, claims: Claims, wall: Callable[[], int], rng: Random) -> None:
        self.elsewhere = NOWHERE
        self._claims = claims
        self._wall = wall
        self._rng = rng

    def leaves(self, delivery: Delivery, plan: Plan) -> bool:
        """Give a delivery back that others are to carry; False where it is ours."""
        if plan.pool not in self.elsewhere.pools:
            return False
        if delivery.message.configuration_set in self.elsewhere.sets and not delivery.pool:
            self._claims.leave(delivery)
        else:
            self.put_off(delivery, plan.pool, _LOOKED_AT_AGAIN_MS)
        return True

    def others_may_take(self, plan: Plan) -> bool:
        """Whether mail that cannot go from here now may go from an address of other nodes."""
        return plan.pool in self.elsewhere.shared

    def put_off(self, delivery: Delivery, pool: str, wait_ms: int) -> None:
        """Have a delivery wait for a node with addresses of a pool, for about so long at most."""
        due_at = self._wall() + round(wait_ms * (1.0 + self._rng.random() / 10))
        self._claims.give_back(delivery, min(due_at, delivery.message.expires_at), pool_word(pool))


def pool_word(pool: str) -> str:
    """The word for mail that waits for addresses of a pool, see `PutOff`."""
    return f"pool:{pool}"

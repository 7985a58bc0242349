"""What a relay shares that is one of several, and that it is given up at its end."""

from types import SimpleNamespace

from relay.limits.sharing import Sharing
from relay.runtime.shared_limits import give_up, make_sharing
from relay.store.interface import StoreUnavailable


class Store:
    def __init__(self, *, is_shared: bool) -> None:
        self.is_shared = is_shared
        self.shares = self

    async def settle(self, member, wishes):
        raise StoreUnavailable("the store is away")


def relay(*, is_shared: bool) -> SimpleNamespace:
    told: list[str] = []
    log = SimpleNamespace(warning=lambda event, **fields: told.append(event), told=told)
    membership = SimpleNamespace(member=object(), valid_until=1e12)
    fleet = SimpleNamespace(membership=membership)
    return SimpleNamespace(store=Store(is_shared=is_shared), fleet=fleet, log=log)


def test_a_relay_of_its_own_shares_nothing():
    assert make_sharing(relay(is_shared=False)) is None


def test_a_node_of_a_fleet_has_shares():
    assert isinstance(make_sharing(relay(is_shared=True)), Sharing)


async def test_a_store_that_is_away_does_not_keep_a_relay_from_ending():
    one = relay(is_shared=True)

    class Busy:
        async def close(self) -> None:
            raise StoreUnavailable("the store is away")

    await give_up(one, Busy())

    assert one.log.told == ["the shares of this node cannot be given up: others wait for its lease"]

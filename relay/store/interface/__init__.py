"""The store, as every stage sees it: one protocol, one contract suite, several back ends.

What a method changes is durable (on stable storage) when it returns. A message is *claimed* by an
owner, with a lease and a fencing epoch; what an owner whose claim was taken over asks for
afterwards is refused (`settle` returns False) and changes nothing.

Failures: `StoreFull` when there is no room, `StoreUnavailable` for any other fault of the medium.
After either, nothing of the request is stored, and the store serves again when the cause is gone.
"""

from relay.store.interface.accepting import BodyWriter, MessageStore
from relay.store.interface.attempts import AttemptStore, UnclassifiedStore
from relay.store.interface.errors import (
    BodyDamaged,
    NameTaken,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from relay.store.interface.fleet import FleetStore, ShareStore
from relay.store.interface.limits import PermitStore, WarmupStore
from relay.store.interface.operators import OperatorStore
from relay.store.interface.outbox import Outbox, PauseStore
from relay.store.interface.queue import QueueStore
from relay.store.interface.store import Store
from relay.store.interface.suppression import SuppressionStore
from relay.store.interface.tls import StsPolicyStore, TlsTallyStore
from relay.store.interface.waiting import DelayStore, SuspensionStore

__all__ = [
    "AttemptStore",
    "BodyDamaged",
    "BodyWriter",
    "DelayStore",
    "FleetStore",
    "MessageStore",
    "NameTaken",
    "OperatorStore",
    "Outbox",
    "PauseStore",
    "PermitStore",
    "QueueStore",
    "ShareStore",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "StsPolicyStore",
    "SuppressionStore",
    "SuspensionStore",
    "TlsTallyStore",
    "UnclassifiedStore",
    "WarmupStore",
]

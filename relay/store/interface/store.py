"""All of a store in one look."""

from typing import Protocol

from relay.store.interface.accepting import MessageStore
from relay.store.interface.attempts import AttemptStore
from relay.store.interface.fleet import FleetStore, ShareStore
from relay.store.interface.limits import PermitStore, WarmupStore
from relay.store.interface.operators import OperatorStore
from relay.store.interface.outbox import Outbox, PauseStore
from relay.store.interface.queue import QueueStore
from relay.store.interface.suppression import SuppressionStore
from relay.store.interface.tls import StsPolicyStore, TlsTallyStore


class Store(MessageStore, QueueStore, PermitStore, OperatorStore, Protocol):
    """Everything, plus its life. Rows of a kind of their own are reached by their noun."""

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may use it too."""

    @property
    def fleet(self) -> FleetStore: ...

    @property
    def shares(self) -> ShareStore: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def pauses(self) -> PauseStore: ...

    @property
    def suppressions(self) -> SuppressionStore: ...

    @property
    def attempts(self) -> AttemptStore: ...

    @property
    def warmups(self) -> WarmupStore: ...

    @property
    def sts_policies(self) -> StsPolicyStore: ...

    @property
    def tls_tallies(self) -> TlsTallyStore: ...

    async def open(self, joining: bool = False) -> None:
        """Create or migrate what is needed, check integrity, sweep orphaned bodies.

        `joining` does none of it: the store is shared with a process that has opened it so, and
        that closes it last.
        """

    async def close(self) -> None: ...

    async def free_space(self) -> int | None:
        """Octets free on the medium; 0 while there is no room to accept mail at all, None where
        that is not known."""

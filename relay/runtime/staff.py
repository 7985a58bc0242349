"""Who does the work of a relay: the workers, who carry mail; the scribe, who writes down what
became of it; and the door, where connections come in and are handed to a worker."""

from dataclasses import replace
from typing import TYPE_CHECKING

from relay.config.model import Config
from relay.frontend.door import Door
from relay.runtime import messages as say
from relay.runtime.crew import Crew
from relay.runtime.draining import Draining
from relay.runtime.duties import SCRIBE
from relay.runtime.ledger import Ledger
from relay.runtime.member import Member
from relay.runtime.switchboard import Switchboard
from relay.runtime.tenure import Tenure

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

_SCRIBE_PATIENCE = 60.0  # seconds without an answer; nobody waits for it
_SCRIBE_GRACE = 10.0  # to file what the workers have left, once they have ended


class Staff:
    """Of one supervisor. Nobody is at work before `start`. `lock` is the open file that says that
    the data directory is in use: who works keeps it too."""

    def __init__(self, relay: "Supervisor", config: Config, lock: int) -> None:
        self._relay = relay
        self._switchboard = Switchboard(relay)
        self.crew = Crew(
            [f"worker-{number}" for number in range(1, config.workers + 1)],
            "relay.runtime.worker",
            begin=relay.begin,
            handlers=self._switchboard.handlers,
            joined=self._switchboard.joined,
            lost=self._switchboard.lost,
            changed=self._crew_changed,
            lock=lock,
            logging=config.logging,
            patience=config.store.lease,
            needed=True,
            count=relay.metrics.workers.set,
            metrics=relay.metrics,
            log=relay.log,
        )
        self.scribe = Crew(
            ["scribe"],
            "relay.runtime.scribe",
            begin=self._begin_scribe,
            handlers=lambda _: {say.PausesChanged: lambda _: self._pauses_changed()},
            joined=self._switchboard.tell_time,
            lost=self._scribe_lost,
            changed=lambda: None,
            lock=lock,
            logging=config.logging,
            patience=_SCRIBE_PATIENCE,
            needed=False,  # without it mail goes all the same, and the outbox keeps what happened
            count=relay.metrics.scribes.set,
            metrics=relay.metrics,
            log=relay.log,
        )
        self.ledger = Ledger((self.crew, self.scribe), relay.metrics)
        self.door = Door(
            config=config, hand_over=self.crew.hand_over, metrics=relay.metrics, log=relay.log
        )
        self.guard = self.door.guard
        self.draining = Draining(
            self.door,
            self.crew,
            grace=lambda: relay.config.shutdown.grace,
            is_stopping=lambda: relay.stopping,
            changed=lambda _: relay.fleet.tell_state(),
            log=relay.log,
        )
        self.scribe_tenure: Tenure | None = None

    async def start(self) -> None:
        """Addresses are bound before workers are started, and open when there are some. Raises
        `OSError` and `CrewError`."""
        relay = self._relay
        await self.door.start()
        relay.cleanup.callback(self.door.stop)
        relay.cleanup.push_async_callback(self.crew.stop, 0.0)
        relay.cleanup.push_async_callback(self.scribe.stop, 0.0)
        relay.fleet.attend()
        await self.crew.start()
        relay.cleanup.push_async_callback(self.draining.cancel)
        relay.background.start(self.draining.keep_crew(), "workers")
        if not relay.store.is_shared:
            relay.background.start(self._keep_scribe(), "scribe")
            return
        self.scribe_tenure = Tenure(
            SCRIBE,
            fleet=relay.store.fleet,
            member=relay.fleet.member_for_duties,
            work=self._keep_scribe,
            end=self.scribe.stop,
            grace=_SCRIBE_GRACE,
            log=relay.log,
        )
        relay.background.start(self.scribe_tenure.run(), "scribe of the fleet")

    def _begin_scribe(self, name: str) -> say.Begin:
        begin = self._relay.begin(name)
        tenure = self.scribe_tenure
        return begin if tenure is None else replace(begin, duty=tenure.duty)

    async def _keep_scribe(self) -> None:
        """Mail does not wait for it, not even at the start."""
        await self.scribe.start()
        await self.scribe.keep()

    async def _pauses_changed(self) -> None:
        """The others first: here it takes as long as the slowest worker."""
        self._relay.fleet.tell_soon("pauses")
        await self._relay.pausing.refresh()

    async def _scribe_lost(self, member: Member) -> None:
        """What it had not filed is in the outbox, for the next one."""
        self.ledger.close_account(member)

    def _crew_changed(self) -> None:
        """Clients wait in the backlog while nobody is there to serve them."""
        if self.crew.ready:
            self.door.resume()
        else:
            self.door.pause()

    async def prepare(self, configuration: bytes) -> set[str]:
        """Have everybody get a configuration ready, pickled as it is; what keeps them from it."""
        return {
            problem
            for crew in (self.crew, self.scribe)
            for answer in await crew.ask(say.Prepare(configuration))
            for problem in answer
        }

    def abandon(self) -> None:
        """Have everybody forget what was prepared."""
        for crew in (self.crew, self.scribe):
            crew.tell(say.Abandon())

    async def put_in_force(self) -> None:
        """What was prepared holds from now on."""
        await self.crew.put_in_force()
        await self.scribe.put_in_force()

    async def stop(self, grace: float) -> None:
        """Accept no more, and let everybody finish within `grace` seconds. The scribe is the last:
        it writes down what the others have done."""
        self.door.stop()
        await self.crew.stop(grace)
        if self.scribe_tenure is not None:
            await self.scribe_tenure.finish(min(grace, _SCRIBE_GRACE))
        await self.scribe.stop(min(grace, _SCRIBE_GRACE))

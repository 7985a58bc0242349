"""All workers, or the one scribe: started, watched, replaced, spoken to together, and ended.

Owns the processes. A worker that dies or does not answer is replaced; `lost` is awaited first, so
that what it held is free for the others. One that keeps dying is started less and less often. Never
touches mail: a message is the store's, whoever dies.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from relay.config.model import Logging
from relay.frontend.visit import Visit
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.runtime.link import Handler, LinkFault, LinkLost
from relay.runtime.member import Member, start_member
from relay.runtime.messages import Begin, Drain, PutInForce, Question, Report

R = TypeVar("R")

_READY_WITHIN = 120.0  # seconds to open the store and read keys on a busy host
_ASKED_EVERY = 2.0
_LOOKS_EVERY = 0.05
_PAUSES = 0.1, 30.0  # seconds before a worker that died young is started again: least, most
_YOUNG = 30.0
_ENDS_WITHIN = 10.0  # seconds beyond the grace that an ending worker has


class CrewError(Exception):
    """The workers cannot be started; the text says why."""


class Crew:
    """Processes of one kind, one for each of `names`, that run `module`.

    `begin` says how one begins, given its name; `handlers` what is done with what it says; `joined`
    tells one that works from now on what it may have missed; `lost` gives up what a dead one held;
    `changed` is called when one can take connections and when none can. `patience` are the seconds
    without an answer after which a worker is taken for hung. The relay does not start without those
    who are `needed`; others are tried again.
    """

    def __init__(
        self,
        names: Sequence[str],
        module: str,
        *,
        begin: Callable[[str], Begin],
        handlers: Callable[[Callable[[], Member]], Mapping[type, Handler]],
        joined: Callable[[Member], None],
        lost: Callable[[Member], Awaitable[None]],
        changed: Callable[[], None],
        lock: int,
        logging: Logging,
        patience: float,
        needed: bool,
        count: Callable[[int], None],
        metrics: Metrics,
        log: Logger,
    ) -> None:
        """`count` is told how many of them work."""
        self._module = module
        self._count = count
        self._begin = begin
        self._handlers = handlers
        self._joined = joined
        self._lost = lost
        self._changed = changed
        self._lock = lock
        self._logging = logging
        self._patience = patience
        self._needed = needed
        self._metrics = metrics
        self._log = log
        self._names = tuple(names)
        self._members: dict[str, Member] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Crew {list(self._members.values())}>"

    @property
    def size(self) -> int:
        """How many workers there are to be."""
        return len(self._names)

    @property
    def ready(self) -> list[Member]:
        """Those that work."""
        return [member for member in self._members.values() if member.is_ready]

    async def start(self) -> None:
        """Start all, also once they were stopped. Raises `CrewError` where the first of them
        cannot; none is left then."""
        self._stopping = False
        started = [asyncio.get_running_loop().create_future() for _ in self._names]
        self._keepers = [
            asyncio.create_task(self._keep(name, first), name=name)
            for name, first in zip(self._names, started, strict=True)
        ]
        problems = [problem for problem in await asyncio.gather(*started) if problem]
        if problems:
            await self.stop(0.0)
            raise CrewError(problems[0])

    async def some_ready(self, within: float) -> bool:
        """Wait for one that works, for at most so many seconds; whether there is one."""
        deadline = time.monotonic() + within
        while not self.ready and time.monotonic() < deadline:  # noqa: ASYNC110 - few ask, seldom
            await asyncio.sleep(_LOOKS_EVERY)
        return bool(self.ready)

    async def keep(self) -> None:
        """Until all were stopped, or keeping a worker alive fails in an unforeseen way, which is
        raised."""
        done, _ = await asyncio.wait(self._keepers, return_when=asyncio.FIRST_EXCEPTION)
        for keeper in done:
            if not keeper.cancelled():
                keeper.result()

    # Speaking to them

    def hand_over(self, visit: Visit, connection: socket.socket) -> bool:
        """Let the worker with the fewest connections serve one more; False where none can."""
        for member in sorted(self.ready, key=_connections):
            if member.hand_over(visit, connection):
                return True
        return False

    def tell(self, message: object, but: Member | None = None) -> None:
        """Tell all, `but` one."""
        for member in self.ready:
            if member is not but:
                member.link.tell(message)

    async def ask(self, question: Question[R], within: float = _READY_WITHIN) -> list[R]:
        """The answers of all; one that is gone, fails or is silent for `within` seconds is left
        out (it is being replaced)."""
        answers = await asyncio.gather(
            *(self.ask_one(member, question, within) for member in self.ready)
        )
        return [answer for one in answers for answer in one]

    async def ask_one(
        self, member: Member, question: Question[R], within: float = _READY_WITHIN
    ) -> Sequence[R]:
        """The answer of one, or nothing."""
        try:
            async with asyncio.timeout(within):
                return (await member.link.ask(question),)
        except (LinkLost, LinkFault):
            return ()
        except TimeoutError:
            self._log.error("a worker does not answer", worker=member.name)
            return ()

    async def put_in_force(self) -> None:
        """Have all take up what they have prepared. Who cannot is replaced by one who begins with
        it: no two workers hold different configurations for longer than that takes."""
        for member in self.ready:
            if await self.ask_one(member, PutInForce()) != (True,):
                self._log.error("a worker did not take the configuration up", worker=member.name)
                member.kill()

    # Keeping one alive

    async def _keep(self, name: str, first: "asyncio.Future[str]") -> None:
        pause = _PAUSES[0]
        while not self._stopping:
            began = time.monotonic()
            problem = await self._employ(name, first)
            if problem and not self._needed and not first.done():
                first.set_result("")
            if self._stopping or (problem and not first.done()):
                if not first.done():
                    first.set_result(problem or "the relay is stopping")
                return
            if time.monotonic() - began > _YOUNG:
                pause = _PAUSES[0]
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSES[1])

    async def _employ(self, name: str, first: "asyncio.Future[str]") -> str:
        """The life of one process; why it never worked, or an empty string."""
        member: Member | None = None

        def whom() -> Member:
            assert member is not None
            return member

        try:
            member = await start_member(
                name,
                self._handlers(whom),
                self._changed,
                module=self._module,
                lock=self._lock,
                logging=self._logging,
                log=self._log,
            )
        except OSError as error:
            self._log.error("a worker could not be started", worker=name, error=str(error))
            return f"a worker could not be started: {error.strerror}"
        self._members[name] = member
        watching: asyncio.Task[None] | None = None
        try:
            if problem := await self._introduce(member):
                member.kill()
                return problem
            if not first.done():
                first.set_result("")
            watching = asyncio.create_task(self._watch(member))
            await member.process.wait()
        except asyncio.CancelledError:
            member.kill()
            raise
        finally:
            if watching is not None:
                watching.cancel()
            await self._bury(member)
        return ""

    async def _introduce(self, member: Member) -> str:
        """Have a worker begin; why it cannot, or an empty string."""
        begin = self._begin(member.name)
        try:
            async with asyncio.timeout(_READY_WITHIN):
                problem = await member.link.ask(begin)
        except LinkLost:
            problem = "it ended while it began"
        except LinkFault as fault:
            problem = str(fault)
        except TimeoutError:
            problem = f"it was not ready within {_READY_WITHIN:g} seconds"
        if self._begin(member.name).configuration is not begin.configuration:
            problem = problem or "the configuration was changed while it began"
        member.is_ready = not problem
        if problem:
            self._log.error("a worker could not begin", worker=member.name, reason=problem)
        else:
            self._joined(member)
            self._count(len(self.ready))
            self._changed()
        return problem

    async def _watch(self, member: Member) -> None:
        """End a worker that lives and does not answer: its mail waits for somebody who does."""
        try:
            while True:
                await asyncio.sleep(_ASKED_EVERY)
                async with asyncio.timeout(self._patience):
                    await member.link.ask(Report())
        except LinkLost:
            # It is ending, for a part of it failed: it is given the time for what is in flight.
            member.is_ready = False
            self._changed()
            await asyncio.sleep(_ENDS_WITHIN)
            self._log.error("a worker that is ending does not end: killed", worker=member.name)
        except (TimeoutError, LinkFault) as error:
            self._log.error("a worker hangs: it is ended", worker=member.name, error=repr(error))
        member.kill()

    async def _bury(self, member: Member) -> None:
        """A worker is gone, or about to be."""
        member.close()
        code = await member.process.wait()
        if self._members.get(member.name) is member:
            del self._members[member.name]
        self._count(len(self.ready))
        self._changed()
        if not self._stopping:
            self._metrics.worker_deaths.inc()
            self._log.error("a worker died: another takes its place", worker=member.name, exit=code)
        await self._lost(member)
        member.buried.set()

    # Ending

    async def stop(self, grace: float) -> None:
        """Have all finish what is in flight within `grace` seconds; kill what does not end. Those
        that are finishing already have no more than that from now on."""
        self._stopping = True
        await asyncio.gather(*(self._dismiss(member, grace) for member in self._members.values()))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _dismiss(self, member: Member, grace: float) -> None:
        try:
            async with asyncio.timeout(grace + _ENDS_WITHIN):
                with contextlib.suppress(LinkLost):
                    member.stock = await member.link.ask(Drain(grace))
                member.close()
                await member.buried.wait()
        except (TimeoutError, LinkFault) as error:
            self._log.error("a worker did not end: killed", worker=member.name, error=repr(error))
            member.kill()


def _connections(member: Member) -> int:
    return member.connections

"""Mail whose site is not known yet: it waits here while DNS is asked, one question for a domain.

However much mail waits for a domain there is one task, and none for a domain that is known. What
waits is a part of the working set, so it is bounded as that is; a question ends within seconds
(`relay.routing.resolver`). The answer, or that there is none, holds for all that wait.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from relay.delivery.lanes import names
from relay.mail.replies import Reply
from relay.observe.logging import Logger
from relay.routing.plan import Plan, RoutingFailure
from relay.routing.sites import Site
from relay.store.values import Delivery, QueueFilter

_INTERNAL = Reply(451, "4.3.0", "an internal error of this relay; its log says more")


class SiteFinder(Protocol):
    """What is needed of `routing.Router`."""

    async def find_site(self, plan: Plan, domain: str) -> Site: ...


@dataclass(frozen=True, slots=True)
class Homeless:
    """A delivery that waits for its site; `fresh` and `avoid` are those of `Dispatcher.place`."""

    delivery: Delivery
    fresh: bool
    avoid: Collection[str]


class Finding:
    """`found` gets what waited for a domain with its site, None where it is to be asked for anew;
    `failed` gets it where there is no site."""

    def __init__(
        self,
        found: Callable[[Homeless, Site | None], None],
        failed: Callable[[Delivery, RoutingFailure], None],
        log: Logger,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._found = found
        self._failed = failed
        self._log = log
        self._waiting: dict[str, list[Homeless]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._finder: SiteFinder

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def configure(self, finder: SiteFinder) -> None:
        """Ask `finder` from now on. Answers of the one before do not count any more."""
        self._finder = finder

    def wait(self, homeless: Homeless, plan: Plan) -> None:
        """Keep a delivery until the site of its domain by `plan` is known."""
        domain = homeless.delivery.domain
        waiting = self._waiting.get(domain)
        if waiting is not None:
            waiting.append(homeless)
            return
        self._waiting[domain] = [homeless]
        task = self._loop.create_task(self._find(self._finder, plan, domain))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def deliveries(self) -> Iterator[Delivery]:
        """All that wait."""
        return (homeless.delivery for waiting in self._waiting.values() for homeless in waiting)

    def take_matching(self, which: QueueFilter) -> list[Delivery]:
        """What waits and `which` names; it waits no longer."""
        taken: list[Delivery] = []
        for waiting in self._waiting.values():
            taken += [one.delivery for one in waiting if names(which, one.delivery)]
            waiting[:] = [one for one in waiting if not names(which, one.delivery)]
        return taken

    def take_all(self) -> list[Delivery]:
        """All that wait; nothing does any more. Questions under way go on for nobody."""
        taken = list(self.deliveries())
        for waiting in self._waiting.values():
            waiting.clear()
        return taken

    def close(self) -> None:
        """End the questions under way."""
        for task in tuple(self._tasks):
            task.cancel()

    async def _find(self, finder: SiteFinder, plan: Plan, domain: str) -> None:
        """The root of a task."""
        failure: RoutingFailure | None = None
        site: Site | None = None
        try:
            site = await finder.find_site(plan, domain)
        except RoutingFailure as error:
            failure = error
        except Exception:
            self._log.exception("a site could not be found", domain=domain)
            failure = RoutingFailure(_INTERNAL, "local")
        waiting = self._waiting.pop(domain)
        is_old = finder is not self._finder  # a reload may have changed routes and providers
        for homeless in waiting:
            if is_old or failure is None:
                self._found(homeless, None if is_old else site)
            else:
                self._failed(homeless.delivery, failure)

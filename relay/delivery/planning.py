"""The plan of a delivery: its route, its pool and the sources that may carry it."""

from collections.abc import Collection

from relay.observe.logging import Logger
from relay.routing.plan import Family, Plan, RoutingFailure
from relay.routing.router import Router
from relay.store.values import Delivery


class Planning:
    """By one router at a time. Owns what was said of pools that are gone."""

    def __init__(self, router: Router, log: Logger) -> None:
        self._log = log
        self.configure(router)

    def configure(self, router: Router) -> None:
        self._router = router
        self._missed: set[str] = set()  # pools that mail was moved to and that are gone

    def plan(self, delivery: Delivery) -> Plan:
        """Raises `RoutingFailure`."""
        plan = self._router.plan(delivery.domain, delivery.message.configuration_set, delivery.pool)
        is_gone = plan.pool != delivery.pool and plan.route.kind != "simulator"
        if delivery.pool and is_gone and delivery.pool not in self._missed:
            self._missed.add(delivery.pool)  # once for each, until the next reload
            self._log.warning(
                "mail was moved to a pool that is gone: it goes through that of its set",
                pool=delivery.pool,
            )
        return plan

    def has_source_but(self, delivery: Delivery, avoid: Collection[str]) -> bool:
        """Whether a source of its pool may send it that is none of those to `avoid`."""
        try:
            plan = self.plan(delivery)
        except RoutingFailure:  # a reload has removed the configuration set
            return False
        return any(c.weight > 0 and c.address not in avoid for c in plan.eligible)

    def sources_of(self, delivery: Delivery, family: Family) -> set[str]:
        """The sources of its pool that are of one address family."""
        try:
            plan = self.plan(delivery)
        except RoutingFailure:  # a reload has removed the configuration set
            return set()
        return {c.address for c in plan.candidates if c.family == family}

"""What the supervisor does for all workers in TLS to other relays: it renews policies, sends
reports, and watches whether the name servers validate.
"""

import asyncio
from typing import TYPE_CHECKING

from relay.routing.sts_keeper import StsKeeper
from relay.runtime.duties import TLS_REPORTS
from relay.runtime.messages import MailIsDue
from relay.runtime.tls_reporting import TlsReporting

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

_PROBE_EVERY_S = 600.0


async def run_tls_duties(relay: "Supervisor") -> None:
    """For ever, until cancelled; one that fails ends all."""
    keeper = StsKeeper(
        relay.outbound_tls.sts, relay.store.sts_policies, relay.log, relay.queue_clock.date
    )
    reporting = TlsReporting(
        store=relay.store,
        resolver=relay.resolver,
        context=relay.outbound_tls.contexts.verified,
        config=lambda: relay.config,
        changed=lambda: relay.staff.crew.tell(MailIsDue(relay.queue_clock.now())),
        is_ours=lambda: relay.duties.has(TLS_REPORTS),
        metrics=relay.metrics,
        log=relay.log,
        wall=relay.queue_clock.date,
    )
    async with asyncio.TaskGroup() as duties:
        duties.create_task(keeper.run())
        duties.create_task(reporting.run())
        duties.create_task(_watch_dnssec(relay))


async def _watch_dnssec(relay: "Supervisor") -> None:
    """DANE that never applies looks like DANE that is in order: somebody must say so."""
    worked = True
    while True:
        works = not relay.config.transport.dane or await relay.resolver.validates()
        if worked and not works:
            relay.log.warning(
                "transport.dane has no effect: the name servers do not validate DNSSEC, or cannot"
                " be reached",
                nameservers=relay.config.delivery.nameservers or "those of the host",
            )
        elif works and not worked:
            relay.log.info("the name servers validate DNSSEC: DANE is in effect")
        worked = works
        await asyncio.sleep(_PROBE_EVERY_S)

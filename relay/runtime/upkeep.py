"""What a supervisor sees to all the time, besides carrying mail."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from relay.runtime.duties import TIDYING
from relay.runtime.pruning import prune_attempts, prune_suppressions
from relay.runtime.tls_duties import run_tls_duties

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

_EVERY = 1.0  # seconds


def start_upkeep(relay: "Supervisor") -> None:
    """Begin all of it; it ends with the relay."""
    store, now, log = relay.store, relay.queue_clock.now, relay.log
    tidies = partial(relay.duties.has, TIDYING)
    for work, name in (
        (relay.fleet.news.run(), "news of the fleet"),
        (_look_at_workers(relay), "report of this node"),
        (relay.gauges.run(), "gauges"),
        (relay.health.run(), "source health"),
        (relay.limiting.warmups.run(), "warm-ups"),
        (relay.restraining.run(), "reactions to providers"),
        (relay.staff.ledger.run(), "ledger of metrics"),
        (_follow_the_clock(relay), "clock of the queue"),
        (_follow_the_store(relay), "clock of the store"),
        (run_tls_duties(relay), "policies and reports of TLS"),
        (relay.suspender.run(), "suspensions"),
        (relay.forwarding.run(), "mail that was put off"),
        (relay.limiting.tidy(), "limits"),
        (
            prune_attempts(store.attempts, lambda: relay.config, now, tidies, log),
            "pruning of dialogues",
        ),
        (
            prune_suppressions(store.suppressions, lambda: relay.config, now, tidies, log),
            "pruning of the suppression list",
        ),
    ):
        relay.background.start(work, name)


async def _follow_the_clock(relay: "Supervisor") -> None:
    """Look as often as workers do, so that steps too small to be jumps do not add up to one."""
    while True:
        relay.queue_clock.now()
        await asyncio.sleep(_EVERY)


async def _follow_the_store(relay: "Supervisor") -> None:
    while relay.store.is_shared:
        await relay.fleet.time.look()
        await asyncio.sleep(_EVERY)
    await asyncio.Event().wait()  # of an embedded store the clock is this host's


async def _look_at_workers(relay: "Supervisor") -> None:
    while True:
        await relay.fleet.look_at_workers()
        await asyncio.sleep(_EVERY)

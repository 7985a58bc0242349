"""Why a queued message has not gone out: what the store, the workers, DNS and the limits say."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.admin.control import ExplainedHost, ExplainedSource, MessageRequest
from relay.admin.explained import (
    MOST_EXPLAINED,
    DeliveryExplanation,
    MessageExplanation,
    all_rest,
    verdict,
)
from relay.delivery.whereabouts import Found
from relay.feedback.restraints import Restraint
from relay.limits.specs import temper_key
from relay.routing import explain as routing
from relay.routing.elsewhere import why_it_waited
from relay.routing.plan import RoutingFailure
from relay.runtime.looking import GLANCE_S, limit_status
from relay.runtime.messages import WhereIs
from relay.signing.return_paths import ReturnPaths
from relay.store.values import Message, QueueEntry

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

_DNS_S = 10.0  # for the hosts of one delivery; without an answer the rest is told


async def explain_message(relay: "Supervisor", request: MessageRequest) -> MessageExplanation:
    """See `MessageExplanation`. Raises `Refused` where nothing is known of the message."""
    detail = await relay.control.operations.message(request)
    if detail.whereabouts != "queued":
        return MessageExplanation(detail)
    found, silent = await _where(relay, request.message_id)
    message = await relay.store.find_message(request.message_id)
    deliveries = [
        replace(
            await _explain(relay, entry, found.get(entry.delivery_id)),
            return_path=return_path(relay.return_paths, message, entry),
        )
        for entry in detail.deliveries[:MOST_EXPLAINED]
    ]
    return MessageExplanation(detail, tuple(deliveries), silent)


_Where = dict[int, tuple[str, Found]]


async def _where(relay: "Supervisor", message_id: str) -> tuple[_Where, tuple[str, ...]]:
    """What each worker has, by delivery, and which workers are silent."""
    members = relay.staff.crew.ready
    answers = await asyncio.gather(
        *(relay.staff.crew.ask_one(member, WhereIs(message_id), GLANCE_S) for member in members)
    )
    found: _Where = {}
    silent = []
    for member, answer in zip(members, answers, strict=True):
        if not answer:
            silent.append(member.name)
        for each in answer:
            found.update({one.delivery_id: (member.name, one) for one in each})
    return found, tuple(silent)


async def _explain(
    relay: "Supervisor", entry: QueueEntry, where: tuple[str, Found] | None
) -> DeliveryExplanation:
    worker, found = where or ("", None)
    is_shared = relay.store.is_shared
    now = relay.queue_clock.now()
    try:
        plan = relay.router.plan(entry.domain, entry.configuration_set, entry.pool)
    except RoutingFailure as failure:
        problem = str(failure.reply)
        told = verdict(entry, found, worker, (), problem, (), now, is_shared=is_shared)
        return DeliveryExplanation(entry, told, worker, found, problem=problem)
    recipient = entry.recipients[0] if entry.recipients else f"@{entry.domain}"
    known = routing.explain_queued(
        entry.reverse_path, recipient, plan, entry.credential, relay.fleet.elsewhere
    )
    try:
        async with asyncio.timeout(_DNS_S):
            known = await routing.find_hosts(known, relay.router)
    except TimeoutError:
        pass
    site = relay.router.site(plan, entry.domain)
    held = tuple(
        one
        for one in relay.restraining.in_force()
        if site is not None
        and one.line == site.line
        and one.source in {candidate.address for candidate in plan.candidates}
    )
    slowed = [temper_key(one.source, one.line) for one in held]
    limits = tuple(
        map(limit_status, await relay.limiting.limits.levels([*known.limit_keys, *slowed]))
    )
    orders = relay.suspender.in_force.all_of(
        entry.configuration_set, entry.credential, entry.domain, plan, known.provider
    )
    usable = [candidate.address for candidate in plan.eligible if candidate.weight]
    # Of other nodes it is not known whether theirs rest.
    here = " on this node" if plan.pool in relay.fleet.elsewhere.shared else ""
    rest = all_rest(f"{plan.pool}{here}", usable, held, now)
    return DeliveryExplanation(
        entry=entry,
        verdict=verdict(
            entry,
            found,
            worker,
            orders,
            known.problem,
            limits,
            now,
            rest,
            elsewhere=why_it_waited(plan.pool, known.carried_by) if known.carried_by else "",
            is_shared=is_shared,
        ),
        worker=worker,
        found=found,
        suspensions=orders,
        pool=plan.pool,
        sources=tuple(
            ExplainedSource(s.address, s.ehlo, s.weight, s.excluded, s.shape)
            for s in (rested(source, held) for source in known.sources)
        ),
        route=known.route,
        site=known.site,
        provider=known.provider,
        hosts=tuple(
            ExplainedHost(h.name, h.address, h.port, known.tls_with(h)) for h in known.hosts
        ),
        problem=known.problem,
        reactions=held,
        limits=limits,
    )


def rested(source: routing.ExplainedSource, held: tuple[Restraint, ...]) -> routing.ExplainedSource:
    """The source with the reason why it is not chosen, where it rests for the destination."""
    for one in held:
        if one.until and one.source == source.address and not source.excluded:
            return replace(source, excluded=f"it rests for {one.line}: {one.rule}")
    return source


def return_path(paths: ReturnPaths, message: Message | None, entry: QueueEntry) -> str:
    """What goes out in MAIL FROM for a delivery, in one transaction for all of its recipients; `""`
    where the message has left the queue meanwhile."""
    if message is None:
        return ""
    addresses = set(entry.recipients)
    recipients = tuple(r for r in message.envelope.recipients if r.address in addresses)
    return paths.of(message, recipients) or "<>"

"""What a running relay answers its operators (`relay.admin.control.Control`)."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from relay import __version__
from relay.admin.control import (
    Changed,
    ExplainedHost,
    ExplainedKey,
    ExplainedSource,
    ExplainRequest,
    Explanation,
    Health,
    ListenerStatus,
    Login,
    LoginRequest,
    MessageRequest,
    Refused,
    Reloaded,
    SourceStatus,
    Status,
    WorkerStatus,
)
from relay.admin.explained import MessageExplanation
from relay.admin.nodes import DrainStatus, PublishedNow
from relay.admin.operations import StoreOperations
from relay.admin.reactions import ClearReactions
from relay.admin.tls_values import TlsOutlook, TlsRequest
from relay.admin.top import Look
from relay.config.listening import every_listener
from relay.config.suppression import reasons_checked
from relay.delivery.telling import Telling
from relay.feedback.restraints import Restraint
from relay.limits.specs import temper_key
from relay.mail.envelope import domain_of
from relay.routing import explain as explaining
from relay.routing.plan import RoutingFailure
from relay.runtime.event_control import EventControl
from relay.runtime.explaining import explain_message, rested
from relay.runtime.gauges import wall_ms
from relay.runtime.looking import GLANCE_S, backlog_of, limit_status, look, queue_statuses
from relay.runtime.messages import (
    AllowOnce,
    QueueChanged,
    Recall,
    Report,
    SecretsChanged,
    TellProviders,
    WhichTlsIsBroken,
    WhyLinesWait,
)
from relay.runtime.tls_outlook import look_out
from relay.signing.keys import KeyRing
from relay.store.fleet_values import NewsKind
from relay.store.values import Line, QueueFilter, SuppressionEntry

if TYPE_CHECKING:
    from relay.runtime.reload import Reloader
    from relay.runtime.supervisor import Supervisor

A = TypeVar("A")

ONE_TIME_S = 60.0
"""How long the password of `relay send` is good for."""

_RECALL_S = 5.0  # for a worker to give mail back; what a silent one holds stays as it is
_SILENT = f"It has not answered within {GLANCE_S:g} seconds."
_NO_WORKER = "no mail is accepted: no worker runs; the log says why"
_DRAINING = "no mail is accepted: the relay is {}; `relay drain --off` has it serve again"
_LOW_ON_SPACE = "disk space is low: mail is refused with 452 until there is more"


class RelayControl:
    """The public face of a running relay."""

    def __init__(self, relay: "Supervisor", reloader: "Reloader") -> None:
        self._relay = relay
        self._reloader = reloader
        self.events = EventControl(relay)
        self.operations = StoreOperations(
            store=relay.store,
            message_log=relay.message_log,
            config=lambda: relay.config,
            clock=relay.queue_clock.now,
            recall=self._recall,
            gave_up=Telling(relay.metrics, relay.log).bounced_by_operator,
            queue_changed=self._queue_changed,
            secrets_changed=self._secrets_changed,
            suspensions_changed=self._told(relay.suspender.refresh, "suspensions"),
            pauses_changed=self._told(relay.pausing.refresh, "pauses"),
            warmups_changed=self._told(relay.limiting.warmups.reload, "warmups"),
            source_faults=self._source_faults,
            providers=self._providers,
            waiting=self._waiting,
            why_lines_wait=self._why_lines_wait,
            carriers=lambda: relay.fleet.elsewhere.pools,
        )

    async def _recall(self, which: QueueFilter) -> None:
        """Have every worker give back what it holds in memory of it."""
        await self._relay.staff.crew.ask(Recall(which), _RECALL_S)

    def _queue_changed(self) -> None:
        self._relay.staff.crew.tell(QueueChanged())
        self._relay.fleet.tell_soon("queue")

    def _told(
        self, change: Callable[[], Awaitable[None]], news: NewsKind
    ) -> Callable[[], Awaitable[None]]:
        """What puts a change in force here, and has the other nodes told of it."""

        async def changed() -> None:
            await self._relay.fleet.tell(news)
            await change()

        return changed

    async def _secrets_changed(self) -> None:
        await self._relay.fleet.tell("secrets")
        known: list[bool] = await self._relay.staff.crew.ask(SecretsChanged())
        if not all(known):
            raise Refused(
                "this is stored, but not every worker could read it: see the log, and run"
                " `relay reload`",
                "unavailable",
            )

    def liveness(self) -> Health:
        """Alive: what failed beyond repair ends the process, so an answer says nearly all."""
        failed = self._relay.background.failed_part
        return Health(not failed, (f"{failed} ended",) if failed else ())

    def _no_worker(self) -> str:
        state = self._relay.node_state
        return _NO_WORKER if state == "serving" else _DRAINING.format(state)

    def readiness(self) -> Health:
        """Ready: mail is accepted, stored and delivered."""
        relay = self._relay
        reasons = []
        if relay.stopping:
            reasons.append("no mail is accepted: the relay is stopping")
        elif not relay.staff.crew.ready or relay.node_state != "serving":
            reasons.append(self._no_worker())
        if why := self._store_trouble()[0]:
            reasons.append(f"the store does not answer: {why}")
        free = relay.gauges.free_bytes
        if free is not None and free < max(1, relay.config.bounds.minimum_free_disk):
            reasons.append(_LOW_ON_SPACE)
        return Health(not reasons, tuple(reasons))

    async def status(self) -> Status:
        """Everything at a glance; fresh, where the store answers."""
        relay = self._relay
        trouble, since = await self._look_at_store()
        states = await relay.staff.crew.ask(Report(), GLANCE_S)
        return Status(
            version=__version__,
            hostname=relay.config.hostname,
            pid=os.getpid(),
            started_at=relay.started_at,
            config_path=str(relay.path),
            config_epoch=self._reloader.epoch,
            config_loaded_at=self._reloader.loaded_at,
            last_reload_error=self._reloader.last_error,
            health=self.liveness(),
            readiness=self.readiness(),
            listeners=self._listeners(),
            metrics_address=relay.config.metrics.address,
            queue=queue_statuses(relay.gauges.depths),
            workers=tuple(
                WorkerStatus(member.name, member.process.pid, member.connections)
                for member in relay.staff.crew.ready
            ),
            working_set=sum(state.working_set for state in states),
            outbound_connections=sum(state.outbound_connections for state in states),
            sources=self._sources(),
            limits=tuple(map(limit_status, relay.gauges.levels)),
            suppressions=relay.gauges.suppressions,
            store_error=trouble,
            store_away_since=since,
            suspensions=relay.suspender.in_force.entries,
            free_bytes=relay.gauges.free_bytes or 0,
            certificate_expires_at=round((relay.gauges.certificate_expires_at or 0) * 1000),
        )

    async def _look_at_store(self) -> tuple[str, int]:
        """Have the figures fresh, where a shared store gives them soon; else they stay those of the
        last look. Why it cannot be reached, and since when."""
        relay = self._relay
        if relay.fleet.reach.away is None:
            try:
                async with asyncio.timeout(GLANCE_S if relay.store.is_shared else None):
                    await relay.gauges.refresh()
            except TimeoutError:
                known = self._store_trouble()
                return known if known[0] else (_SILENT, wall_ms() - round(GLANCE_S * 1000))
        return self._store_trouble()

    def _store_trouble(self) -> tuple[str, int]:
        """Why the store cannot be reached, and since when, as far as is known; "": it can."""
        away = self._relay.fleet.reach.away or self._relay.gauges.away
        return (away.why, away.since) if away is not None else ("", 0)

    async def while_reachable(self, work: Callable[[], Awaitable[A]]) -> A:
        """See `Reach.during`."""
        return await self._relay.fleet.reach.during(work)

    def _listeners(self) -> tuple[ListenerStatus, ...]:
        configured = every_listener(self._relay.config)
        return tuple(
            ListenerStatus(
                name=name,
                address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
                tls=configured[name].tls,
                connections=self._relay.staff.door.session_count(name),
            )
            for name, (host, port) in self._relay.staff.door.addresses.items()
        )

    def _sources(self) -> tuple[SourceStatus, ...]:
        return tuple(
            SourceStatus(
                pool=pool,
                address=str(source.address),
                weight=source.weight,
                available=self._relay.health.available(str(source.address)),
                reason=self._relay.health.fault(str(source.address)),
            )
            for pool, settings in self._relay.config.pools.items()
            for source in settings.sources
        )

    async def _providers(self) -> dict[str, str]:
        """Of the domains that workers know."""
        answers = await self._relay.staff.crew.ask(TellProviders(), GLANCE_S)
        return {domain: provider for known in answers for domain, provider in known.items()}

    async def _waiting(self) -> dict[str, int]:
        """What waits in memory for each source."""
        return dict((await backlog_of(self._relay)).sources)

    async def _why_lines_wait(self, lines: Sequence[Line]) -> dict[Line, str]:
        """As far as workers know."""
        answers = await self._relay.staff.crew.ask(WhyLinesWait(tuple(lines)), GLANCE_S)
        return {line: why for known in answers for line, why in known.items()}

    async def look(self) -> Look:
        """What goes on now."""
        return await look(self._relay)

    def _source_faults(self) -> dict[str, str]:
        return {source.address: source.reason for source in self._sources() if not source.available}

    async def reload(self) -> Reloaded:
        """Load the configuration anew."""
        return await self._reloader.reload()

    async def publish(self) -> PublishedNow:
        """Make this node's file the configuration of the fleet."""
        return await self._relay.following.publish()

    async def drain(self) -> DrainStatus:
        """Take no more mail; see `runtime.draining`."""
        await self._relay.staff.draining.begin()
        return await self.drain_status()

    async def end_drain(self) -> DrainStatus:
        """Serve again."""
        await self._relay.staff.draining.end()
        return await self.drain_status()

    async def drain_status(self) -> DrainStatus:
        """How far draining is."""
        relay = self._relay
        states = await relay.staff.crew.ask(Report(), GLANCE_S)
        others = [n for n in relay.fleet.membership.nodes if n.name != relay.fleet.name]
        return DrainStatus(
            state=relay.node_state,
            sessions=sum(member.connections for member in relay.staff.crew.ready),
            working_set=sum(state.working_set for state in states),
            outbound_connections=sum(state.outbound_connections for state in states),
            others=tuple(n.name for n in others if n.is_alive and n.report.state == "serving"),
        )

    async def explain(self, request: ExplainRequest) -> Explanation:
        """The decisions about one message; DNS, limits and the suppression list are asked now."""
        relay = self._relay
        try:
            known = explaining.explain(
                request.sender,
                request.recipient,
                config=relay.config,
                router=relay.router,
                configuration_set=request.configuration_set,
                credential=request.credential,
                elsewhere=relay.fleet.elsewhere,
                pauses=relay.pausing.in_force,
            )
        except RoutingFailure as failure:
            raise Refused(str(failure.reply)) from failure
        if not known.refusal:
            known = await explaining.find_hosts(known, relay.router)
            held = self._held_back(known)
            slowed = [temper_key(one.source, one.line) for one in held]
            known = replace(
                known,
                suppression=await self._suppression(request.recipient, known.configuration_set),
                limits=tuple(await relay.limiting.limits.levels([*known.limit_keys, *slowed])),
                sources=tuple(rested(source, held) for source in known.sources),
            )
            domain = domain_of(request.recipient)
            orders = relay.suspender.in_force.all_of(
                known.configuration_set,
                request.credential,
                domain,
                relay.router.plan(domain, known.configuration_set),
                known.provider,
            )
            told = _explanation(known, relay.keyring)
            return replace(told, reactions=held, suspensions=orders)
        return _explanation(known, relay.keyring)

    async def explain_message(self, request: MessageRequest) -> MessageExplanation:
        """See `runtime.explaining`."""
        return await explain_message(self._relay, request)

    async def _suppression(self, recipient: str, name: str) -> SuppressionEntry | None:
        """The entry that keeps mail of a configuration set to this recipient from being sent."""
        config = self._relay.config
        entry = await self._relay.store.suppressions.find(recipient)
        if entry is None or not entry.is_in_force(self._relay.queue_clock.date()):
            return None
        own = config.configuration_sets[name].suppression
        return entry if entry.reason in reasons_checked(own, config.suppression) else None

    def _held_back(self, known: explaining.Explanation) -> tuple[Restraint, ...]:
        """What holds the sources of the pool back for this destination, once it was looked up."""
        domain = domain_of(known.recipient)
        router = self._relay.router
        site = router.site(router.plan(domain, known.configuration_set), domain)
        sources = {source.address for source in known.sources}
        return tuple(
            one
            for one in self._relay.restraining.in_force()
            if site is not None and one.line == site.line and one.source in sources
        )

    async def tls(self, request: TlsRequest) -> TlsOutlook:
        """What TLS with the mail hosts of a domain must be; see `runtime.tls_outlook`."""
        relay = self._relay
        outlook = await look_out(request, relay.config, relay.router, relay.resolver)
        broken = await relay.staff.crew.ask(WhichTlsIsBroken(outlook.site), GLANCE_S)
        stored = await relay.store.sts_policies.find(outlook.told.domain)
        until = stored.ends_at if stored and stored.ends_at > relay.queue_clock.date() else 0
        return replace(
            outlook.told,
            policy_until=until,
            broken=tuple(each for answer in broken for each in answer),
        )

    async def reactions(self) -> list[Restraint]:
        """What holds sources back now, because of what providers said."""
        return self._relay.restraining.in_force()

    async def clear_reactions(self, request: ClearReactions) -> Changed:
        """Lift what holds a source back for a line."""
        count = self._relay.restraining.clear(request.source, request.line)
        if not count:
            raise Refused(
                f"nothing holds {request.source} back for {request.line};"
                " `relay reactions list` shows what is in force",
                "not_found",
            )
        return Changed(count)

    async def one_time_login(self, request: LoginRequest) -> Login:
        """A password that is good for one login of a configured credential."""
        relay = self._relay
        credential = relay.config.credentials.get(request.credential)
        if credential is None or not credential.enabled:
            raise Refused(f"no credential {request.credential} is enabled", "not_found")
        password = secrets.token_urlsafe(32)
        # Which worker will serve the login is not known yet; the guard lets it be used once in all.
        allowed = await relay.staff.crew.ask(AllowOnce(request.credential, password, ONE_TIME_S))
        if not allowed:
            raise Refused(self._no_worker())
        if not all(allowed):
            raise Refused("too many one-time passwords are open; try again in a minute")
        return Login(
            username=request.credential,
            password=password,
            expires_at=wall_ms() + round(ONE_TIME_S * 1000),
            listeners=self._listeners(),
        )


def _explanation(known: explaining.Explanation, keyring: KeyRing) -> Explanation:
    algorithms = {(key.domain, key.selector): key.algorithm for key in keyring}
    return Explanation(
        sender=known.sender,
        recipient=known.recipient,
        refusal=known.refusal,
        identity=known.identity,
        configuration_set=known.configuration_set,
        configuration_set_from=known.configuration_set_from,
        keys=tuple(
            ExplainedKey(key.domain, key.selector, algorithms.get((key.domain, key.selector), ""))
            for key in known.keys
        ),
        return_path=known.return_path,
        suppression=known.suppression,
        pool=known.pool,
        sources=tuple(
            ExplainedSource(
                source.address, source.ehlo, source.weight, source.excluded, source.shape
            )
            for source in known.sources
        ),
        carried_by=known.carried_by,
        route=known.route,
        destination=str(known.destination or ""),
        site=known.site,
        provider=known.provider,
        hosts=tuple(
            ExplainedHost(host.name, host.address, host.port, known.tls_with(host))
            for host in known.hosts
        ),
        hosts_problem=known.problem,
        tls=known.tls,
        limits=tuple(map(limit_status, known.limits)),
        retry=known.retry,
        max_age=known.max_age,
    )

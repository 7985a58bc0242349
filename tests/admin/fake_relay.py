"""A `Control` that answers from plain fields, for tests of what sits on either side of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from relay.admin.control import (
    Changed,
    ExplainRequest,
    Explanation,
    Health,
    ListenerStatus,
    Login,
    LoginRequest,
    MessageRequest,
    Operations,
    Refused,
    Reloaded,
    Status,
)
from relay.admin.explained import MessageExplanation
from relay.admin.nodes import DrainStatus, PublishedNow
from relay.admin.reactions import ClearReactions
from relay.admin.tls_values import TlsOutlook, TlsRequest
from relay.admin.top import Look
from relay.feedback.restraints import Restraint
from relay.store.interface import StoreUnavailable

A = TypeVar("A")


@dataclass
class FakeRelay:
    """A running relay as its control socket sees it."""

    operations: Operations
    alive: Health = field(default_factory=lambda: Health(True))
    ready: Health = field(default_factory=lambda: Health(True))
    reloaded: Reloaded = field(default_factory=lambda: Reloaded(True, 2))
    explanation: Explanation | None = None
    explained: MessageExplanation | None = None
    listeners: tuple[ListenerStatus, ...] = ()
    passwords: dict[str, str] = field(default_factory=dict)
    fault: Exception | None = None
    looks: list[Look] = field(default_factory=list)  # the last one is given again and again
    restraints: list[Restraint] = field(default_factory=list)
    drains: list[DrainStatus] = field(default_factory=list)  # as of looks
    is_drained: bool = False
    is_away: bool = False
    store_error: str = ""

    async def while_reachable(self, work: Callable[[], Awaitable[A]]) -> A:
        if self.is_away:
            raise StoreUnavailable("the database does not answer")
        return await work()

    def liveness(self) -> Health:
        return self.alive

    def readiness(self) -> Health:
        return self.ready

    async def status(self) -> Status:
        if self.fault is not None:
            raise self.fault
        return Status(
            version="0.1.0",
            hostname="relay.test",
            pid=4711,
            started_at=1_700_000_000_000,
            config_path="/etc/relay/relay.yaml",
            config_epoch=1,
            config_loaded_at=1_700_000_000_000,
            last_reload_error="",
            health=self.alive,
            readiness=self.ready,
            listeners=self.listeners,
            store_error=self.store_error,
            store_away_since=1_700_000_000_000 if self.store_error else 0,
        )

    async def look(self) -> Look:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    async def reload(self) -> Reloaded:
        return self.reloaded

    async def publish(self) -> PublishedNow:
        return PublishedNow(1, followed=True)

    async def drain(self) -> DrainStatus:
        self.is_drained = True
        return self.drains[0]

    async def end_drain(self) -> DrainStatus:
        self.is_drained = False
        return DrainStatus("serving")

    async def drain_status(self) -> DrainStatus:
        return self.drains.pop(0) if len(self.drains) > 1 else self.drains[0]

    async def explain(self, request: ExplainRequest) -> Explanation:
        return self.explanation or Explanation(request.sender, request.recipient)

    async def explain_message(self, request: MessageRequest) -> MessageExplanation:
        detail = await self.operations.message(request)
        return self.explained or MessageExplanation(detail)

    async def one_time_login(self, request: LoginRequest) -> Login:
        if request.credential not in self.passwords:
            raise Refused(f"no credential {request.credential} is configured", "not_found")
        return Login(
            request.credential,
            self.passwords[request.credential],
            1_700_000_060_000,
            self.listeners,
        )

    async def tls(self, request: TlsRequest) -> TlsOutlook:
        return TlsOutlook(request.domain, request.configuration_set, "opportunistic", "")

    async def reactions(self) -> list[Restraint]:
        return self.restraints

    async def clear_reactions(self, request: ClearReactions) -> Changed:
        kept = [
            one
            for one in self.restraints
            if (one.source, one.line) != (request.source, request.line)
        ]
        count = len(self.restraints) - len(kept)
        self.restraints = kept
        if not count:
            raise Refused(f"nothing holds {request.source} back for {request.line}", "not_found")
        return Changed(count)

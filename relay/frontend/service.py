"""What all sessions of the front end share: the configuration in force, the stages behind, counts.

A session reads `bounds` and `tls` when it needs them, so a new configuration holds for open
sessions from their next command on (TLS that is already in use stays as it is).
"""

import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

from relay.admission.submission import Refusal, Submission
from relay.config.model import Bounds, Config
from relay.frontend import replies
from relay.frontend.authenticator import Authenticator
from relay.frontend.budget import Budget
from relay.frontend.gatekeeper import Gatekeeper
from relay.frontend.incoming import Limits
from relay.frontend.replies import Answer
from relay.frontend.returns import ReportBook, Returns
from relay.mail.replies import Reply
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import MessageStore
from relay.store.values import Accepted, NewMessage

Accept = Callable[[NewMessage], Awaitable[Accepted]]


class Admission(Protocol):
    """The checks that every submission passes (`relay.admission`)."""

    async def admit(self, submission: Submission) -> NewMessage | Refusal: ...


class SpoolStore(MessageStore, Protocol):
    """What the front end asks of the store."""

    @property
    def outbox(self) -> ReportBook: ...

    async def free_space(self) -> int | None:
        """Octets free on the medium; None where that is not known."""


class Service:
    """Shared by sessions; changed by the `Frontend` alone. Where it has `returns`, its sessions
    take what comes back: nobody logs in, TLS is not demanded, and mail is handed in there."""

    def __init__(
        self,
        *,
        admission: Admission,
        store: SpoolStore,
        accept: Accept,
        authenticator: Authenticator,
        metrics: Metrics,
        log: Logger,
        gatekeeper: Gatekeeper,
        bounds: Bounds,
        wall: Callable[[], int],
    ) -> None:
        self.returns: Returns | None = None
        self.admission = admission
        self.store = store
        self.accept = accept
        self.authenticator = authenticator
        self.metrics = metrics
        self.log = log
        self.gatekeeper = gatekeeper
        self.wall = wall
        self.bounds = bounds
        self.budget = Budget(self.bounds.bytes_in_flight)
        self.limits = Limits(bounds.message_size, bounds.header_size)
        self.hostname = ""
        self.relaxed = False
        self.draining = False
        self.disk_low = False
        self.greeting = self.hello = self.extensions_clear = self.extensions_tls = replies.OK
        self._tls: ssl.SSLContext | None = None

    @property
    def tls(self) -> ssl.SSLContext:
        """For the next handshake."""
        if self._tls is None:
            raise RuntimeError("the front end has no TLS context before it is configured")
        return self._tls

    def configure(
        self,
        config: Config,
        tls: ssl.SSLContext,
        bounds: Bounds,
        returns: Returns | None = None,
    ) -> None:
        """Put a configuration in force: for clients, or for what comes back."""
        self._tls = tls
        self.hostname = config.hostname
        self.bounds = bounds
        self.returns = returns
        self.limits = Limits(bounds.message_size, bounds.header_size)
        self.budget.limit = bounds.bytes_in_flight
        self.relaxed = any(
            key.canonicalization == "relaxed/relaxed"
            for identity in config.identities.values()
            for key in identity.dkim
        )
        self.greeting = Answer(Reply(220, "", f"{config.hostname} ESMTP relay"))
        self.hello = Answer(Reply(250, "", config.hostname))
        extensions = [
            config.hostname,
            "PIPELINING",
            f"SIZE {bounds.message_size}",
            "8BITMIME",
            "SMTPUTF8",
            *(["DSN"] if returns is None else []),
            "ENHANCEDSTATUSCODES",
        ]
        logins = ["AUTH PLAIN LOGIN"] if returns is None else []
        self.extensions_clear = Answer(Reply(250, "", "\n".join([*extensions, "STARTTLS"])))
        self.extensions_tls = Answer(Reply(250, "", "\n".join([*extensions, *logins])))

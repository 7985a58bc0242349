"""Opening connections to destinations: which hosts, in what order, and what TLS must be.

`setup` makes one connection to one host; then a `Wire` takes it over. Owns the memory of hosts that
did not answer, of hosts whose TLS is broken, and of hosts that offer PIPELINING and cannot do it.
What a connection must fulfil is decided in `routing.transport`; what does not fulfil it is no
connection. Never leaves from another address than the path's: where it cannot be bound that is
`SourceUnavailable`, no fault of the destination. All else that fails is `ConnectFailure`, after
every host has been tried.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import cast

from aiosmtplib import SMTP, SMTPResponseException

from relay.config.model import Config
from relay.delivery.failures import ConnectFailure, setup_failure
from relay.delivery.memory import Remembered
from relay.delivery.path import Path
from relay.delivery.peer import Peer, describe_peer
from relay.delivery.setup import abandon, set_up
from relay.delivery.tls import TlsContexts
from relay.delivery.tls_sessions import TlsResult, TlsSession
from relay.delivery.wire import Wire
from relay.mail.replies import Reply
from relay.observe.metrics import Metrics
from relay.routing.plan import Host
from relay.routing.transport import Demand, demand_on

HOSTS_TRIED = 5  # in one attempt, as Postfix does
BAD_HOST_SECONDS = 120.0
BROKEN_TLS_SECONDS = 3600.0
NO_PIPELINING_SECONDS = 3600.0
_REMEMBERED = 10_000

HostKey = tuple[str, str, int]
"""A site or a source, and the address and port of a host."""

BadHostKey = tuple[str | Path, str, int]
"""For whom a host is bad, and its address and port. One that does not answer is bad for all mail of
a source; one whose TLS does not do, for the path that wants it so: what one domain publishes must
not change the order of hosts for others."""


class Connection:
    """A connection that is ready for transactions, and how many it has carried. `remote` names
    its peer in results. `sessions` is what was learnt of TLS with the hosts that were tried, the
    one that serves last; `domains` those that it has carried mail for; `ready_at` when it was
    ready, on the loop's clock."""

    __slots__ = (
        "carried",
        "domains",
        "needs_reset",
        "on_end",
        "path",
        "peer",
        "ready_at",
        "remote",
        "sessions",
        "wire",
    )

    def __init__(self, path: Path, peer: Peer) -> None:
        self.path = path
        self.peer = peer
        self.sessions: tuple[TlsSession, ...] = ()
        self.domains: set[str] = set()
        self.remote = str(peer)
        self.wire: Wire
        self.carried = 0
        self.ready_at = 0.0
        self.needs_reset = False
        self.on_end: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.path.source} to {self.peer}, {self.carried} carried>"


class Connections:
    """Opens connections, and knows all that are open. `simulator` gives one to the mailbox
    simulator."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        *,
        contexts: TlsContexts | None = None,
        simulator: Callable[[], socket.socket] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds = config.delivery
        self._simulator = simulator
        self._metrics = metrics
        self._contexts = contexts or TlsContexts.make()
        self._bad_hosts: Remembered[BadHostKey, bool] = Remembered(
            BAD_HOST_SECONDS, _REMEMBERED, clock
        )
        self._broken_tls: Remembered[HostKey, TlsSession] = Remembered(
            BROKEN_TLS_SECONDS, _REMEMBERED, clock
        )
        self._failed_trials: Remembered[HostKey, TlsSession] = Remembered(
            BROKEN_TLS_SECONDS, _REMEMBERED, clock
        )
        self._no_pipelining: Remembered[tuple[str, int], bool] = Remembered(
            NO_PIPELINING_SECONDS, _REMEMBERED, clock
        )
        self._open: set[Wire] = set()
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        return (
            f"<Connections {len(self._open)} open, {len(self._bad_hosts)} bad hosts,"
            f" {len(self._broken_tls)} with broken TLS>"
        )

    def reconfigure(self, config: Config, contexts: TlsContexts | None = None) -> None:
        self._bounds = config.delivery
        self._contexts = contexts or self._contexts

    def broken_tls(self, most: int) -> list[tuple[str, TlsSession, float]]:
        """Sites with hosts whose TLS is known to be broken: how, and for how many seconds more
        that is remembered; newest first."""
        return [(key[0], session, left) for key, session, left in self._broken_tls.in_force(most)]

    async def open(self, path: Path, hosts: Sequence[Host]) -> Connection:
        """A connection to the first host that serves.

        Raises `ConnectFailure`, with a transient reply where any host gave one, and
        `SourceUnavailable`.
        """
        failure: ConnectFailure | None = None
        sessions: list[TlsSession] = []
        for host, demand in self._in_order(path, hosts)[:HOSTS_TRIED]:
            try:
                connection = await self._open_host(path, host, demand, sessions)
            except ConnectFailure as error:
                if not demand.refusal:  # else it was not even asked
                    whom = path if error.phase == "tls" else path.source
                    self._bad_hosts.put((whom, host.address, host.port), True)
                self._count(path, error.result)
                if failure is None or (failure.reply.is_permanent and error.reply.is_transient):
                    failure = error
            else:
                for served in (path, path.source):
                    self._bad_hosts.discard((served, host.address, host.port))
                self._count(path, "ok")
                connection.sessions = tuple(sessions)
                return connection
        if failure is not None:
            failure.sessions = tuple(sessions)
        raise failure or ConnectFailure(
            "routing", Reply(451, "4.4.4", f"no host of {path.site} is known"), "", "unreachable"
        )

    def cannot_pipeline(self, peer: Peer) -> None:
        """Speak to a host command by command for a while: it has lost what went out together."""
        self._no_pipelining.put((peer.address, peer.port), True)

    async def close_politely(self, seconds: float = 1.0) -> None:
        """Give those that have said QUIT a moment to be answered, then cut all."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._open and asyncio.get_running_loop().time() < deadline:
            self._closed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._closed.wait()
        self.close()

    def close(self) -> None:
        """Cut every connection."""
        for wire in tuple(self._open):
            wire.abort()

    def _in_order(self, path: Path, hosts: Sequence[Host]) -> list[tuple[Host, Demand]]:
        """The hosts as routing ordered them with what each must fulfil; those that failed lately
        come later, and those that a policy refuses last."""
        found = [(host, _demand(path, host)) for host in hosts]
        return sorted(found, key=lambda f: (f[1].refusal != "", self._is_bad(path, f[0])))

    def _is_bad(self, path: Path, host: Host) -> bool:
        whom = (path.source, path)
        return any((each, host.address, host.port) in self._bad_hosts for each in whom)

    async def _open_host(
        self, path: Path, host: Host, demand: Demand, sessions: list[TlsSession]
    ) -> Connection:
        """A connection to one host that fulfils `demand`; what is learnt of TLS goes to
        `sessions`."""
        if demand.refusal:
            sessions.append(_refused(host, demand))
            text = f"{host} is not used: {demand.refusal}"
            raise ConnectFailure("tls", Reply(451, "4.7.5", text), str(host), "tls")
        if demand.trial is not None:
            as_tested = await self._try_out(path, host, demand.trial, sessions)
            if as_tested is not None:
                return as_tested
            sessions = []  # it is counted once, as the policy sees it
        key = (path.site.name, host.address, host.port)
        if demand.may_fall_back and (known := self._broken_tls.get(key)) is not None:
            sessions.append(replace(known, demand=demand))
            return await self._attempt(path, host, _in_clear(demand), [])
        try:
            return await self._attempt(path, host, demand, sessions)
        except ConnectFailure as error:
            if error.phase != "tls" or not demand.may_fall_back:
                raise
            self._broken_tls.put(key, TlsSession(host, demand, error.tls, error.reply.text))
        # The peer offers what it cannot do. Mail must arrive all the same (RFC 7435), so it is
        # sent in clear text, over a fresh connection: the old one is in an unknown state.
        self._count(path, "tls_broken")
        return await self._attempt(path, host, _in_clear(demand), [])

    async def _try_out(
        self, path: Path, host: Host, strict: Demand, sessions: list[TlsSession]
    ) -> Connection | None:
        """A connection as a policy would have it that is only tested; None where there is none,
        which is counted and no more."""
        if strict.refusal:
            sessions.append(_refused(host, strict))
            return None
        key = (path.site.name, host.address, host.port)
        if (known := self._failed_trials.get(key)) is not None:
            sessions.append(replace(known, demand=strict))
            return None
        try:
            return await self._attempt(path, host, strict, sessions)
        except ConnectFailure as error:
            if error.phase != "tls":
                raise
            self._failed_trials.put(key, sessions[-1])
        return None

    async def _attempt(
        self, path: Path, host: Host, demand: Demand, sessions: list[TlsSession]
    ) -> Connection:
        """One connection. Raises `ConnectFailure` and `SourceUnavailable`."""
        try:
            smtp = await set_up(path, host, demand, self._contexts, self._bounds, self._simulator)
        except ConnectFailure as error:
            if error.phase == "tls" and error.tls:
                sessions.append(TlsSession(host, demand, error.tls, error.reply.text))
            raise
        try:
            connection = self._take_over(smtp, path, host)
        except (SMTPResponseException, OSError) as error:
            raise setup_failure("ehlo", error, host) from error
        finally:
            abandon(smtp)
        if connection.peer.tls:
            sessions.append(TlsSession(host, demand))
        elif demand.encryption == "offered":
            sessions.append(TlsSession(host, demand, "starttls-not-supported"))
        return connection

    def _take_over(self, smtp: SMTP, path: Path, host: Host) -> Connection:
        """From here on the transport is ours."""
        protocol, transport = smtp.protocol, smtp.transport
        if protocol is None or transport is None or transport.is_closing():
            raise ConnectionResetError("the peer closed the connection")
        # aiosmtplib keeps what came after the reply it read. No command is open, so it answers
        # nothing, and would be taken for the reply to MAIL.
        if protocol._buffer:
            raise SMTPResponseException(-1, "a reply that answers no command")
        tls = transport.get_extra_info("ssl_object")
        version = (tls.version() or "") if tls is not None else ""
        offered = smtp.esmtp_extensions
        if (host.address, host.port) in self._no_pipelining:
            offered = {word: value for word, value in offered.items() if word != "pipelining"}
        peer = describe_peer(host.name, host.address, host.port, version, offered)
        connection = Connection(path, peer)
        gauge = self._metrics.child(
            self._metrics.outbound_connections, path.source, path.site.label
        )

        def ended() -> None:
            gauge.dec()
            self._open.discard(wire)
            self._closed.set()
            if connection.on_end is not None:
                connection.on_end()

        loop = asyncio.get_running_loop()
        wire = connection.wire = Wire(loop, cast("asyncio.Transport", transport), ended)
        self._open.add(wire)
        gauge.inc()
        if version:
            self._metrics.child(self._metrics.tls_sessions, "out", version).inc()
        return connection

    def _count(self, path: Path, result: str) -> None:
        opened = self._metrics.outbound_connections_opened
        self._metrics.child(opened, path.source, path.site.label, result).inc()


def _demand(path: Path, host: Host) -> Demand:
    """What a connection of `path` to `host` must fulfil. A password is never said in clear text."""
    demand = demand_on(host.name, path.destination.tls, path.site.policy, host.tlsa)
    if path.destination.login is not None and demand.encryption == "offered":
        return replace(demand, encryption="always", reason="a login needs TLS")
    return demand


def _refused(host: Host, demand: Demand) -> TlsSession:
    result: TlsResult = "dnssec-invalid" if demand.policy_type == "tlsa" else "validation-failure"
    return TlsSession(host, demand, result, demand.refusal)


def _in_clear(demand: Demand) -> Demand:
    return replace(demand, encryption="never", trust="anybody", trial=None)

"""The network of a simulation: DNS, and connections to simulated providers in the place of sockets.

What stands in is `Connections`, which opens connections, and the `Wire` below each; transactions,
workers, lanes and everything above them are real.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from math import inf
from random import Random

from bench.simulation.provider import WELCOME, PeerReply, Provider
from relay.config.model import Config
from relay.delivery.connections import Connection
from relay.delivery.failures import ConnectFailure
from relay.delivery.path import Path
from relay.delivery.peer import Peer
from relay.delivery.wire import Fault
from relay.mail.enhanced import split_reply
from relay.mail.replies import Reply
from relay.routing.answers import AddressAnswer, MxAnswer
from relay.routing.plan import Family, Host

_SETTING_UP = 4  # round trips: TCP, greeting, EHLO, and EHLO again in TLS


class Dns:
    """Knows where each provider's domains lead: `example.test` to the one host of its provider."""

    def __init__(self, domains: Mapping[str, Provider]) -> None:
        self.providers = {provider.name: provider for provider in domains.values()}
        self._domains = {domain: provider.name for domain, provider in domains.items()}
        self._addresses = {
            f"mx.{name}.test": ip_address(f"198.51.{100 + number // 250}.{number % 250 + 1}")
            for number, name in enumerate(self.providers)
        }
        self._at = {
            str(address): self.providers[name[3:-5]] for name, address in self._addresses.items()
        }

    def provider_at(self, address: str) -> Provider:
        return self._at[address]

    async def mx(self, domain: str) -> MxAnswer:
        name = self._domains.get(domain)
        if name is None:
            return MxAnswer("nxdomain", until=inf)
        return MxAnswer("found", ((10, f"mx.{name}.test"),), until=inf)

    async def addresses(self, name: str, family: Family) -> AddressAnswer:
        address = self._addresses.get(name)
        if address is None:
            return AddressAnswer("nxdomain")
        return AddressAnswer("found", (address,)) if family == 4 else AddressAnswer("nodata")


class Network:
    """In the place of `Connections`. `delivered` is told of each transaction that a provider took:
    the source, and the addresses of the recipients."""

    def __init__(self, dns: Dns, rng: Random, delivered: Callable[[str, list[str]], None]) -> None:
        self.delivered = delivered
        self._loop = asyncio.get_running_loop()
        self.dns = dns
        self._rng = rng
        self._open: set[SimulatedWire] = set()

    def reconfigure(self, config: Config) -> None: ...

    def cannot_pipeline(self, peer: Peer) -> None:
        raise AssertionError("no simulated provider loses commands")

    async def open(self, path: Path, hosts: Sequence[Host]) -> Connection:
        """A connection to the provider at the first host. Raises `ConnectFailure`."""
        host = hosts[0]
        provider = self.dns.provider_at(host.address)
        round_trip = provider.rules.round_trip
        remote = f"{host.name}[{host.address}]:{host.port}"
        await asyncio.sleep(round_trip / 2)
        if provider.down:
            await asyncio.sleep(round_trip / 2)
            text = f"no connection to {remote}: Connection refused"
            raise ConnectFailure("connect", Reply(451, "4.4.1", text), "", "refused")
        reply = provider.greet(path.source, self._loop.time())
        if reply != WELCOME:
            await asyncio.sleep(round_trip / 2)
            raise ConnectFailure("greeting", split_reply(*reply), remote, "refused")
        wire = SimulatedWire(self, provider, path.source, self._rng)
        self._open.add(wire)
        try:
            await asyncio.sleep(round_trip * (_SETTING_UP - 0.5))
        except BaseException:
            wire.abort()
            raise
        peer = Peer(
            host.name,
            host.address,
            host.port,
            "TLSv1.3",
            pipelining=provider.rules.pipelining,
            eight_bit=True,
            smtputf8=True,
        )
        connection = Connection(path, peer)
        connection.wire = wire  # type: ignore[assignment]
        wire.on_end = lambda: connection.on_end() if connection.on_end else None
        return connection

    def ended(self, wire: "SimulatedWire") -> None:
        self._open.discard(wire)

    async def close_politely(self, seconds: float = 1.0) -> None:
        self.close()

    def close(self) -> None:
        for wire in tuple(self._open):
            wire.abort()


class SimulatedWire:
    """In the place of `Wire`: what is said arrives after half a round trip, and is answered."""

    def __init__(self, network: Network, provider: Provider, source: str, rng: Random) -> None:
        self.fault: Fault | None = None
        self.on_end: Callable[[], object] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._network = network
        self._provider = provider
        self._source = source
        self._rng = rng
        self._recipients: list[str] = []  # that were taken
        self._refusal: PeerReply | None = None
        self._in_data = False
        self._ended = False
        self._leaving = False
        self._left = False

    @property
    def is_usable(self) -> bool:
        return self.fault is None and not self._leaving and not self._ended

    @property
    def is_closed(self) -> bool:
        return self._ended

    def ask(self, data: bytes, count: int, seconds: float) -> "asyncio.Future[list[PeerReply]]":
        answer: asyncio.Future[list[PeerReply]] = self._loop.create_future()
        if self.fault is not None:
            answer.set_result([])
        else:
            half = self._provider.rules.round_trip / 2
            self._loop.call_later(half, self._arrive, data, answer)
        return answer

    async def send_block(self, data: bytes, seconds: float) -> bool:
        raise AssertionError("simulated messages are small")

    def quit(self) -> None:
        if not self._ended and not self._leaving:
            self._leaving = True
            round_trip = self._provider.rules.round_trip
            self._loop.call_later(round_trip / 2, self._leave)
            self._loop.call_later(round_trip, self._end)

    def abort(self) -> None:
        if not self._ended and not self._leaving:
            self._leaving = True
            self.fault = self.fault or Fault("lost", "the connection was cut")
            self._leave()
            self._loop.call_soon(self._end)

    # At the provider

    def _arrive(self, data: bytes, answer: "asyncio.Future[list[PeerReply]]") -> None:
        if self._in_data:
            self._in_data = False
            taken = len(self._recipients)
            replies = [self._provider.take(self._source, taken, self._loop.time())]
            self._network.delivered(self._source, self._recipients)
        else:
            replies = self._obey(data)
        rules = self._provider.rules
        parted = replies[-1][0] == 421
        if parted:
            self._leave()
        wait = rules.round_trip / 2 + self._rng.uniform(*rules.thinking)
        self._loop.call_later(wait, self._reply, replies, parted, answer)

    def _obey(self, data: bytes) -> list[PeerReply]:
        commands = data.split(b"\r\n")[:-1]
        replies: list[PeerReply] = []
        for command in commands:
            replies.append(self._command(command, commands))
            if replies[-1][0] == 421:
                break
        return replies

    def _command(self, command: bytes, group: Sequence[bytes]) -> PeerReply:
        verb, now = command[:4], self._loop.time()
        if verb == b"MAIL":
            self._recipients = []
            count = max(1, sum(other.startswith(b"RCPT") for other in group))
            reply = self._provider.mail(self._source, count, now)
            self._refusal = reply if reply[0] >= 400 else None
            return reply
        if verb == b"RCPT":
            if self._refusal is not None:
                return 503, "5.5.1 no MAIL"
            address = command.decode().partition("<")[2].partition(">")[0]
            reply = self._provider.rcpt(self._source, address, now)
            if reply[0] == 250:
                self._recipients.append(address)
            return reply
        if verb == b"DATA":
            self._in_data = bool(self._recipients)
            return (354, "go ahead") if self._in_data else (503, "5.5.1 no valid recipients")
        return 250, "2.0.0 OK"

    def _reply(
        self,
        replies: list[PeerReply],
        parted: bool,
        answer: "asyncio.Future[list[PeerReply]]",
    ) -> None:
        if parted:
            self.fault = Fault("lost", "the peer closed the connection")
        if not answer.done():
            answer.set_result(replies)
        if parted:
            self._end()

    def _leave(self) -> None:
        """The provider counts this connection no more."""
        if not self._left:
            self._left = True
            self._provider.leave(self._source)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._leave()
            self.fault = self.fault or Fault("lost", "the connection is closed")
            self._network.ended(self)
            self.on_end()


def domains_of(providers: Iterable[Provider], each: int) -> dict[str, Provider]:
    """So many recipient domains at each provider: `d0.google.example`, …"""
    return {
        f"d{number}.{provider.name}.example": provider
        for provider in providers
        for number in range(each)
    }

"""A name server on loopback, UDP and TCP on one port, that answers from a zone given as data.

    with NameServer() as server:
        server.zone[("example.test", "MX")] = ["10 mx.example.test."]
        server.zone[("mx.example.test", "A")] = ["127.0.0.5"]
        server.zone[("_25._tcp.mx.example.test", "TLSA")] = Answer(["3 1 1 …"], authentic=True)
        server.zone[("broken.test", "MX")] = SERVFAIL

A name that has no entry at all is NXDOMAIN; one that has others is NODATA. CNAMEs are followed
within the zone. It runs in a thread of its own, so that programs, sync and async tests may ask it.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

SERVFAIL: Final = 2
REFUSED: Final = 5
SILENCE: Final = "silence"
_MOST_ALIASES = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to a question. `authentic` sets the AD flag, as a validating resolver does;
    `truncated` answers over UDP with the TC flag alone, so that the asker comes back by TCP."""

    records: Sequence[str] = ()
    rcode: int = 0
    authentic: bool = False
    truncated: bool = False
    ttl: int | None = None  # seconds; None: that of the server


Entry = Answer | Sequence[str] | int | str
"""An `Answer`, bare records, a return code, or `SILENCE`."""

Zone = dict[tuple[str, str], Entry]
"""(name without its final dot, type) to what is answered."""


class NameServer:
    """Listens from `with` to its end. `asked` has every question as `name TYPE`, in order; `tcp`
    those that came by TCP."""

    def __init__(self, zone: Zone | None = None, *, host: str = "127.0.0.1") -> None:
        self.zone: Zone = dict(zone or {})
        self.ttl = 300
        self.asked: list[str] = []
        self.tcp: list[str] = []
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, as `DnsResolver` wants it."""
        return self._host, self._port

    @property
    def text(self) -> str:
        """The same, as `delivery.nameservers` wants it."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        self._port: int = self._server.sockets[0].getsockname()[1]
        self._endpoint, _ = await self._loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(self._host, self._port)
        )

    async def _close(self) -> None:
        self._endpoint.close()
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Questions over one TCP connection, each behind its length (RFC 1035 §4.2.2)."""
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2))
                said = self.answer(await reader.readexactly(length), over_tcp=True)
                if said is not None:
                    writer.write(len(said).to_bytes(2) + said)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, wire: bytes, *, over_tcp: bool = False) -> bytes | None:
        """What is said to a question; None: nothing."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = str(question.name).rstrip(".").lower(), question.rdtype.name
        self.asked.append(f"{name} {kind}")
        if over_tcp:
            self.tcp.append(f"{name} {kind}")
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        for _ in range(_MOST_ALIASES):
            found = self._find(name, kind)
            if found is None:
                return None
            if found.truncated and not over_tcp:
                response.flags |= dns.flags.TC
                return response.to_wire()
            response.set_rcode(dns.rcode.Rcode(found.rcode))
            if found.authentic:
                response.flags |= dns.flags.AD
            if found.records:
                response.answer.append(self._rrset(name, kind, found))
            alias = self._alias(name) if kind != "CNAME" and not found.records else None
            if alias is None:
                break
            response.answer.append(self._rrset(name, "CNAME", alias))
            name = alias.records[0].rstrip(".").lower()
        return response.to_wire()

    def _find(self, name: str, kind: str) -> Answer | None:
        """The answer for a name and type, aliases aside; None for silence."""
        entry = self.zone.get((name, kind))
        if entry is None:
            exists = any(known == name for known, _ in self.zone)
            return Answer() if exists else Answer(rcode=dns.rcode.NXDOMAIN)
        if entry == SILENCE:
            return None
        if isinstance(entry, Answer):
            return entry
        if isinstance(entry, int):
            return Answer(rcode=entry)
        assert not isinstance(entry, str), f"records of {name} {kind} are a list"
        return Answer(entry)

    def _alias(self, name: str) -> Answer | None:
        return self._find(name, "CNAME") if (name, "CNAME") in self.zone else None

    def _rrset(self, name: str, kind: str, answer: Answer) -> dns.rrset.RRset:
        ttl = self.ttl if answer.ttl is None else answer.ttl
        return dns.rrset.from_text(f"{name}.", ttl, "IN", kind, *answer.records)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        said = self._server.answer(data)
        if said is not None:
            self._transport.sendto(said, peer)

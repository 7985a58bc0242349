"""DNS over dnspython: MX and addresses, remembered for as long as DNS allows, asked for once.

Owns the cache (bounded, least recently used goes first) and the questions under way: a name that
many deliveries want at the same time is asked for once, and goes on being asked for when one of
them gives up. Never raises for what DNS answers: see `routing.answers`. A question ends after
`LIFETIME_S` at the latest, and failures are remembered for some seconds, so that a dead name
server is not flooded.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Generic, TypeVar

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver
from dns.rdtypes.ANY.MX import MX

from relay.routing.answers import AddressAnswer, MxAnswer
from relay.routing.hosts import Hosts, read_hosts
from relay.routing.plan import Family

LIFETIME_S = 10.0
CACHE_SIZE = 20_000
QUESTIONS_AT_ONCE = 200
MAX_RECORDS = 200
"""Of one answer; what a hostile server sends beyond it is not looked at."""

_TTL_FOUND_S = (5.0, 3600.0)
_TTL_NODATA_S = (5.0, 300.0)
_TTL_NXDOMAIN_S = 60.0
_TTL_FAILURE_S = 5.0

_A = TypeVar("_A", MxAnswer, AddressAnswer)


class AnswerCache(Generic[_A]):
    """Answers by question, each until it expires; one question under way per key."""

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._size = size
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], tuple[float, _A]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[_A]] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def get(self, key: tuple[str, str], ask: Callable[[], Awaitable[tuple[_A, float]]]) -> _A:
        """The answer to `key`; `ask` gives it with the seconds for which it may be kept."""
        known = self._known.get(key)
        if known is not None:
            if self._clock() < known[0]:
                self._known.move_to_end(key)
                return known[1]
            del self._known[key]
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key, ask))
        return await asyncio.shield(task)

    async def _ask(
        self, key: tuple[str, str], ask: Callable[[], Awaitable[tuple[_A, float]]]
    ) -> _A:
        try:
            answer, ttl = await ask()
        finally:
            del self._asking[key]
        self._known[key] = (self._clock() + ttl, answer)
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return answer

    async def close(self) -> None:
        """End the questions under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class DnsResolver:
    """The `Resolver` of a running relay: the hosts file, then the name servers of the host.

    `nameservers` (IP address and port) replaces what /etc/resolv.conf says. A host without any
    name server can still send to smarthosts given by address; every question fails.
    """

    def __init__(
        self,
        nameservers: Sequence[tuple[str, int]] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        lifetime_s: float = LIFETIME_S,
        cache_size: int = CACHE_SIZE,
        hosts: Callable[[], Hosts] = read_hosts,
    ) -> None:
        self._mx: AnswerCache[MxAnswer] = AnswerCache(cache_size, clock)
        self._addresses: AnswerCache[AddressAnswer] = AnswerCache(cache_size, clock)
        self._lifetime_s = lifetime_s
        self._questions = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        self._read_hosts = hosts
        self.reconfigure(nameservers)

    def __repr__(self) -> str:
        return f"<DnsResolver {len(self._mx)} domains, {len(self._addresses)} hosts known>"

    async def mx(self, domain: str) -> MxAnswer:
        """The MX records of a domain (A-labels)."""
        return await self._mx.get((domain, "MX"), lambda: self._ask_mx(domain))

    async def addresses(self, name: str, family: Family) -> AddressAnswer:
        """The A (family 4) or AAAA (6) records of a name, CNAMEs followed."""
        if name in self._hosts:
            here = tuple(address for address in self._hosts[name] if address.version == family)
            return AddressAnswer("found" if here else "nodata", here)
        kind = "A" if family == 4 else "AAAA"
        return await self._addresses.get((name, kind), lambda: self._ask_addresses(name, kind))

    def reconfigure(self, nameservers: Sequence[tuple[str, int]] | None) -> None:
        """Ask these servers from now on, or those that /etc/resolv.conf names now. What is known
        stays known until it expires."""
        self._hosts = self._read_hosts()
        self._dns = _configured(nameservers)

    async def close(self) -> None:
        await self._mx.close()
        await self._addresses.close()

    async def _ask_mx(self, domain: str) -> tuple[MxAnswer, float]:
        try:
            answer = await self._ask(domain, "MX")
        except dns.resolver.NXDOMAIN:
            return MxAnswer("nxdomain"), _TTL_NXDOMAIN_S
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            return MxAnswer("failure", detail=_reason(error)), _TTL_FAILURE_S
        records = tuple(
            (record.preference, record.exchange.to_text(omit_final_dot=True).lower().rstrip("."))
            for record in list(answer.rrset or ())[:MAX_RECORDS]
            if isinstance(record, MX)
        )
        return MxAnswer("found" if records else "nodata", records), _ttl(answer)

    async def _ask_addresses(self, name: str, kind: str) -> tuple[AddressAnswer, float]:
        try:
            answer = await self._ask(name, kind)
        except dns.resolver.NXDOMAIN:
            return AddressAnswer("nxdomain"), _TTL_NXDOMAIN_S
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            return AddressAnswer("failure", detail=_reason(error)), _TTL_FAILURE_S
        found = tuple(
            ip_address(record.to_text()) for record in list(answer.rrset or ())[:MAX_RECORDS]
        )
        return AddressAnswer("found" if found else "nodata", found), _ttl(answer)

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer:
        """One question. Raises what dnspython raises; a name that cannot exist is NXDOMAIN."""
        try:
            absolute = dns.name.from_text(name)
        except dns.exception.DNSException:
            raise dns.resolver.NXDOMAIN from None
        async with self._questions:
            return await self._dns.resolve(
                absolute, kind, search=False, raise_on_no_answer=False, lifetime=self._lifetime_s
            )


def _configured(nameservers: Sequence[tuple[str, int]] | None) -> dns.asyncresolver.Resolver:
    if nameservers is None:
        try:
            return dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            nameservers = ()
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [
        dns.nameserver.Do53Nameserver(address, port) for address, port in nameservers
    ]
    return resolver


def _ttl(answer: dns.resolver.Answer) -> float:
    low, high = _TTL_FOUND_S if answer.rrset else _TTL_NODATA_S
    return min(max(float(answer.chaining_result.minimum_ttl), low), high)


def _reason(error: Exception) -> str:
    """Why DNS failed, in a word that is the same every time (it is shown to senders)."""
    if isinstance(error, dns.exception.Timeout):
        return "timeout"
    if isinstance(error, dns.resolver.NoNameservers):
        return "the name servers failed"
    return type(error).__name__

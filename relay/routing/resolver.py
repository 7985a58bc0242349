"""DNS over dnspython: MX and addresses, remembered for as long as DNS allows, asked for once.

Owns the cache (bounded, least recently used goes first) and the questions under way: a name that
many deliveries want at the same time is asked for once, and goes on being asked for when one of
them gives up. Never raises for what DNS answers: see `routing.answers`. A question that has its
turn ends after `LIFETIME_S` at the latest, and failures are remembered for some seconds, so that a
dead name server is not flooded. One that has no answer after `QUICK_S` is asked again among others
of its kind: a thousand domains whose name servers are silent do not keep the others waiting.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Generic, TypeVar

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.nameserver
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TLSA import TLSA
from dns.rdtypes.ANY.TXT import TXT

from relay.routing.answers import AddressAnswer, MxAnswer, Status, TextAnswer, TlsaAnswer
from relay.routing.hosts import Hosts, read_hosts
from relay.routing.plan import Family
from relay.routing.tlsa import Tlsa

LIFETIME_S = 10.0
QUICK_S = 3.0  # time enough for a second name server, where the first one is silent
CACHE_SIZE = 20_000
QUESTIONS_AT_ONCE = 200
SLOW_QUESTIONS_AT_ONCE = 200
MAX_RECORDS = 200
"""Of one answer; what a hostile server sends beyond it is not looked at."""

_TTL_FOUND_S = (5.0, 3600.0)
_TTL_NODATA_S = (5.0, 300.0)
_TTL_NXDOMAIN_S = 60.0
_TTL_FAILURE_S = 5.0

_EDNS_OCTETS = 1232  # what passes without fragments; larger answers come by TCP

_A = TypeVar("_A", MxAnswer, AddressAnswer, TextAnswer, TlsaAnswer)


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

    def clear(self) -> None:
        """Forget all answers."""
        self._known.clear()

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

    With `dnssec` the name servers are asked to validate, and their word that they did (the AD flag)
    is passed on as `secure`. Whether they may be believed is the caller's to know.
    """

    def __init__(
        self,
        nameservers: Sequence[tuple[str, int]] | None = None,
        *,
        dnssec: bool = False,
        clock: Callable[[], float] = time.monotonic,
        lifetime_s: float = LIFETIME_S,
        quick_s: float = QUICK_S,
        cache_size: int = CACHE_SIZE,
        hosts: Callable[[], Hosts] = read_hosts,
    ) -> None:
        self._mx: AnswerCache[MxAnswer] = AnswerCache(cache_size, clock)
        self._addresses: AnswerCache[AddressAnswer] = AnswerCache(cache_size, clock)
        self._texts: AnswerCache[TextAnswer] = AnswerCache(cache_size, clock)
        self._tlsa: AnswerCache[TlsaAnswer] = AnswerCache(cache_size, clock)
        self._caches = (self._mx, self._addresses, self._texts, self._tlsa)
        self._dnssec = dnssec
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._quick_s = min(quick_s, lifetime_s)
        self._questions = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        self._slow_questions = asyncio.Semaphore(SLOW_QUESTIONS_AT_ONCE)
        self._read_hosts = hosts
        self.reconfigure(nameservers, dnssec=dnssec)

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

    async def texts(self, name: str) -> TextAnswer:
        """The TXT records of a name."""
        return await self._texts.get((name, "TXT"), lambda: self._ask_texts(name))

    async def tlsa(self, name: str) -> TlsaAnswer:
        """The TLSA records of a name such as `_25._tcp.mx.example.com`."""
        return await self._tlsa.get((name, "TLSA"), lambda: self._ask_tlsa(name))

    async def validates(self) -> bool:
        """Whether the name servers say that they have validated the root of DNS, which is signed:
        whether DNSSEC can be had from them at all."""
        try:
            return _is_secure(await self._ask(".", "SOA"))
        except (dns.exception.DNSException, OSError):
            return False

    def reconfigure(
        self, nameservers: Sequence[tuple[str, int]] | None, *, dnssec: bool = False
    ) -> None:
        """Ask these servers from now on, or those that /etc/resolv.conf names now. What is known
        stays known until it expires, unless it was asked for without DNSSEC."""
        self._hosts = self._read_hosts()
        self._dns = _configured(nameservers)
        if dnssec:
            self._dns.use_edns(0, dns.flags.DO, _EDNS_OCTETS)
        if dnssec != self._dnssec:
            self._dnssec = dnssec
            for cache in self._caches:
                cache.clear()

    async def close(self) -> None:
        for cache in self._caches:
            await cache.close()

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
        status: Status = "found" if records else "nodata"
        ttl = _ttl(answer)
        until = self._clock() + ttl
        return MxAnswer(status, records, secure=self._believes(answer), until=until), ttl

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
        canonical = answer.canonical_name.to_text(omit_final_dot=True).lower()
        return AddressAnswer(
            "found" if found else "nodata",
            found,
            secure=self._believes(answer),
            canonical="" if canonical == name.lower().rstrip(".") else canonical,
        ), _ttl(answer)

    async def _ask_texts(self, name: str) -> tuple[TextAnswer, float]:
        try:
            answer = await self._ask(name, "TXT")
        except dns.resolver.NXDOMAIN:
            return TextAnswer("nxdomain"), _TTL_NXDOMAIN_S
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            return TextAnswer("failure", detail=_reason(error)), _TTL_FAILURE_S
        texts = tuple(
            b"".join(record.strings).decode("utf-8", "replace")
            for record in list(answer.rrset or ())[:MAX_RECORDS]
            if isinstance(record, TXT)
        )
        return TextAnswer("found" if texts else "nodata", texts), _ttl(answer)

    async def _ask_tlsa(self, name: str) -> tuple[TlsaAnswer, float]:
        try:
            answer = await self._ask(name, "TLSA")
        except dns.resolver.NXDOMAIN:
            return TlsaAnswer("nxdomain"), _TTL_NXDOMAIN_S
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            return TlsaAnswer("failure", detail=_reason(error)), _TTL_FAILURE_S
        records = tuple(
            Tlsa(record.usage, record.selector, record.mtype, record.cert)
            for record in list(answer.rrset or ())[:MAX_RECORDS]
            if isinstance(record, TLSA)
        )
        status: Status = "found" if records else "nodata"
        return TlsaAnswer(status, records, secure=self._believes(answer)), _ttl(answer)

    def _believes(self, answer: dns.resolver.Answer) -> bool:
        return self._dnssec and _is_secure(answer)

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer:
        """One question. Raises what dnspython raises; a name that cannot exist is NXDOMAIN."""
        try:
            absolute = dns.name.from_text(name)
        except dns.exception.DNSException:
            raise dns.resolver.NXDOMAIN from None
        try:
            async with self._questions:
                return await self._resolve(absolute, kind, self._quick_s)
        except dns.exception.Timeout:
            left = self._lifetime_s - self._quick_s
            if left <= 0:
                raise
        async with self._slow_questions:
            return await self._resolve(absolute, kind, left)

    async def _resolve(self, name: dns.name.Name, kind: str, seconds: float) -> dns.resolver.Answer:
        return await self._dns.resolve(
            name, kind, search=False, raise_on_no_answer=False, lifetime=seconds
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


def _is_secure(answer: dns.resolver.Answer) -> bool:
    """Whether the name server has validated the answer, which says so with the AD flag."""
    return bool(answer.response.flags & dns.flags.AD)


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

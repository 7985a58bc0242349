"""The MTA-STS policy of a domain: from memory, from the store, from its policy host.

Owns what this process knows, for some minutes each, and the fetches under way: many deliveries to
one domain cause one. What was fetched lies in the store, which all processes share and which
survives a restart.

A policy that is known holds until its `max_age` is over, whatever happens to the record and the
policy host meanwhile: whoever can cut them off must not be able to turn it off (RFC 8461 §3.3,
§10.2). Only where nothing is known does a fetch that fails leave a domain without a policy.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol, cast

from relay.observe.logging import Logger
from relay.routing.answers import TextAnswer
from relay.routing.https import FETCH_SECONDS, FetchError
from relay.routing.mta_sts import Mode, PolicyError, StsPolicy, parse_policy, record_id
from relay.store.interface import StoreError, StsPolicyStore
from relay.store.tls_values import DAY_MS, StoredPolicy

LOOK_AGAIN_S = 300.0
"""For so long nothing is asked about a domain again, whether it has a policy or not, or could not
serve it (RFC 8461 §3.3 asks for five minutes at least)."""

REFRESH_AFTER_MS = DAY_MS
UNUSED_AFTER_MS = 30 * DAY_MS
KNOWN_DOMAINS = 5_000
FETCHES_AT_ONCE = 100
LONGEST_S = FETCH_SECONDS + 15.0
"""Until a fetch is given up, its wait for others included: however many policy hosts are silent,
mail to a new domain waits no longer."""


class TextResolver(Protocol):
    """What is needed of `answers.TransportResolver`."""

    async def texts(self, name: str) -> TextAnswer: ...


@dataclass(frozen=True, slots=True)
class Found:
    """The policy of a domain, None where it has none, to be believed `until` then (monotonic
    seconds). `problem` says why one that is announced could not be had, and `invalid` whether it
    was served and could not be read. `stored` is the policy as the store has it, or should."""

    policy: StsPolicy | None
    until: float
    problem: str = ""
    invalid: bool = False
    stored: StoredPolicy | None = None


class StsPolicies:
    """`fetch` gives what the policy host of a domain serves; see `sts_fetch.PolicyFetcher`.

    `wall` gives UTC milliseconds, `clock` monotonic seconds.
    """

    def __init__(
        self,
        *,
        resolver: TextResolver,
        fetch: Callable[[str], Awaitable[bytes]],
        store: StsPolicyStore,
        log: Logger,
        wall: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._resolver = resolver
        self._store = store
        self._log = log
        self._wall = wall
        self._clock = clock
        self._known: OrderedDict[str, Found] = OrderedDict()
        self._looking: dict[str, asyncio.Task[Found]] = {}
        self._refreshing: set[asyncio.Task[None]] = set()
        self._fetches = asyncio.Semaphore(FETCHES_AT_ONCE)

    def __repr__(self) -> str:
        return f"<StsPolicies {len(self._known)} domains known, {len(self._looking)} looked for>"

    def reconfigure(self, fetch: Callable[[str], Awaitable[bytes]]) -> None:
        """Fetch in another way from now on."""
        self._fetch = fetch

    async def find(self, domain: str) -> Found:
        """The policy in force for `domain`. Takes a minute at most; never raises."""
        known = self._known.get(domain)
        if known is not None and self._clock() < known.until:
            return known
        task = self._looking.get(domain)
        if task is None:
            task = self._looking[domain] = asyncio.create_task(self._look(domain))
        return await asyncio.shield(task)

    async def refresh(self, policy: StoredPolicy) -> bool:
        """Fetch a policy anew before it ends; True where the domain still has one."""
        answer = await self._resolver.texts(f"_mta-sts.{policy.domain}")
        identifier = record_id(answer.texts)
        if identifier is None:
            return False
        return (await self._obtain(policy.domain, identifier, policy)).policy is not None

    async def close(self) -> None:
        """End what is under way."""
        tasks = [*self._looking.values(), *self._refreshing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, domain: str) -> Found:
        try:
            found = await self._decide(domain)
        finally:
            del self._looking[domain]
        self._known[domain] = found
        self._known.move_to_end(domain)
        while len(self._known) > KNOWN_DOMAINS:
            self._known.popitem(last=False)
        return found

    async def _decide(self, domain: str) -> Found:
        """RFC 8461 §3.3 and §5.1: what is announced, what is known, and which of them holds."""
        stored = await self._stored(domain)
        answer = await self._resolver.texts(f"_mta-sts.{domain}")
        identifier = record_id(answer.texts)
        if identifier is None:
            return self._found(stored)
        if stored is None or stored.id != identifier:
            return await self._obtain(domain, identifier, stored)
        if self._wall() - stored.fetched_at >= REFRESH_AFTER_MS:
            self._refresh_behind(domain, identifier, stored)
        return self._found(stored)

    def _refresh_behind(self, domain: str, identifier: str, stored: StoredPolicy) -> None:
        """Fetch while mail goes by what is known."""

        async def refresh() -> None:
            await self._obtain(domain, identifier, stored)

        task = asyncio.create_task(refresh())
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    async def _obtain(self, domain: str, identifier: str, stored: StoredPolicy | None) -> Found:
        """The policy as its host serves it now; where it does not, the one that is `stored`."""
        try:
            policy = parse_policy(domain, identifier, await self._fetch_in_turn(domain))
        except (FetchError, PolicyError) as error:
            invalid = isinstance(error, PolicyError)
            self._log.warning(
                "the MTA-STS policy of a domain cannot be used: "
                + ("it is not valid" if invalid else "it cannot be fetched"),
                domain=domain,
                reason=str(error),
                known_until=stored.ends_at if stored else None,
            )
            return self._found(stored, str(error), invalid=invalid)
        now = self._wall()
        kept = StoredPolicy(
            domain,
            identifier,
            policy.mode,
            policy.mx,
            policy.max_age,
            now,
            stored.used_at if stored else now,
        )
        await self._keep(kept)
        return self._found(kept)

    async def _fetch_in_turn(self, domain: str) -> bytes:
        """Raises what `fetch` does, and `FetchError` where its turn does not come."""
        try:
            async with asyncio.timeout(LONGEST_S), self._fetches:
                return await self._fetch(domain)
        except TimeoutError:
            raise FetchError(f"no answer within {LONGEST_S:g} seconds") from None

    async def _keep(self, policy: StoredPolicy) -> None:
        try:
            await self._store.put(policy)
        except StoreError as error:
            self._log.error("cannot keep an MTA-STS policy", domain=policy.domain, error=str(error))

    async def _stored(self, domain: str) -> StoredPolicy | None:
        """What is known of old and still holds. A store that is full or cannot be read turns no
        policy off that this process knows; what it could not keep is given to it again."""
        now = self._wall()
        known = self._known.get(domain)
        newest = known.stored if known is not None else None
        try:
            stored = await self._store.find(domain)
        except StoreError as error:
            self._log.error("cannot look up an MTA-STS policy", domain=domain, error=str(error))
        else:
            if newest is None or (stored is not None and stored.fetched_at >= newest.fetched_at):
                newest = stored
            elif newest.ends_at > now:
                await self._keep(newest)
        if newest is None or newest.ends_at <= now:
            return None
        return await self._note_use(newest, now)

    async def _note_use(self, policy: StoredPolicy, now: int) -> StoredPolicy:
        """The policy, of which the store is told once a day that mail has asked for it."""
        if now - policy.used_at < DAY_MS:
            return policy
        try:
            await self._store.used(policy.domain, now)
        except StoreError as error:
            self._log.warning(
                "cannot note the use of an MTA-STS policy", domain=policy.domain, error=str(error)
            )
            return policy
        return replace(policy, used_at=now)

    def _found(
        self, stored: StoredPolicy | None, problem: str = "", *, invalid: bool = False
    ) -> Found:
        until = self._clock() + LOOK_AGAIN_S
        if stored is None:
            return Found(None, until, problem, invalid)
        left = (stored.ends_at - self._wall()) / 1000
        believed_until = min(until, self._clock() + left)
        return Found(policy_of(stored), believed_until, problem, invalid, stored)


def policy_of(stored: StoredPolicy) -> StsPolicy:
    """A policy as the store keeps it, ready to be applied."""
    return StsPolicy(stored.domain, stored.id, cast("Mode", stored.mode), stored.mx, stored.max_age)

"""Sends the daily reports on TLS to domains that ask for them (RFC 8460).

One process does it, the supervisor, of one node of a fleet: some time after midnight UTC, for days
that are over and not settled yet. A domain that asks for no report is settled as that. What fails
for now is tried again every hour, for three days. The mail is stored before its day is settled: a
process that dies in between sends the report twice, under the same id, and never loses it.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from random import Random, SystemRandom
from urllib.parse import urlsplit

from relay.config.model import Config
from relay.feedback.tls_reports import report_message, report_of
from relay.mail.tls_report import TlsReport, mail_address, report_places
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.routing.answers import TransportResolver
from relay.routing.https import HTTPS, FetchError, PublicHosts, Request, ask
from relay.store.interface import Store, StoreError
from relay.store.tls_values import DAY_MS

KEPT_DAYS = 8
TRIED_DAYS = 3
AT_ONCE = 5_000
AGAIN_MS = 3_600_000
_EARLIEST_MS, _LATEST_MS = 5 * 60_000, 4 * 3_600_000
_SIDE_BY_SIDE = 10


def first_look(now: int, rng: Random) -> int:
    """When to look after a start at `now` (UTC ms): soon, for the relay may have been down when it
    was time, and not at once."""
    return now + rng.randint(60_000, 15 * 60_000)


def next_look(now: int, rng: Random, *, failed: bool) -> int:
    """When to look again: in an hour where something failed, else at some moment within four hours
    after the next midnight UTC, so that not all of the world sends at once (RFC 8460 §4.1)."""
    midnight = (now // DAY_MS + 1) * DAY_MS
    tonight = midnight + rng.randint(_EARLIEST_MS, _LATEST_MS)
    return min(now + AGAIN_MS, tonight) if failed else tonight


class TlsReporting:
    """`changed` is called when mail was put into the queue; `is_ours` says whether it is this node
    that sends them; `wall` gives UTC milliseconds."""

    def __init__(
        self,
        *,
        store: Store,
        resolver: TransportResolver,
        context: ssl.SSLContext,
        config: Callable[[], Config],
        changed: Callable[[], None],
        is_ours: Callable[[], Awaitable[bool]],
        metrics: Metrics,
        log: Logger,
        wall: Callable[[], int],
        rng: Random | None = None,
        port: int = HTTPS,
    ) -> None:
        self._store = store
        self._resolver = resolver
        self._context = context
        self._config = config
        self._changed = changed
        self._is_ours = is_ours
        self._metrics = metrics
        self._log = log
        self._wall = wall
        self._rng = rng or SystemRandom()
        self._port = port

    async def run(self) -> None:
        """Look when it is time, for ever, until cancelled. A wall clock that jumps moves the time
        of a report by an hour at most."""
        at = first_look(self._wall(), self._rng)
        while True:
            left = at - self._wall()
            if left > 0:
                await asyncio.sleep(min(left, AGAIN_MS) / 1000)
                continue
            failed = True
            try:
                # Another node's: it may die before it has sent them.
                failed = not (await self._is_ours() and await self.look())
            except StoreError as error:
                self._log.warning("TLS reports wait for the store", error=str(error))
            at = next_look(self._wall(), self._rng, failed=failed)

    async def look(self) -> bool:
        """Settle the days that are over; True where nothing is left to be tried again."""
        today = self._wall() // DAY_MS
        tallies = self._store.tls_tallies
        await tallies.forget(today - KEPT_DAYS)
        if not self._config().transport.tls_reports.send:
            return True
        due = await tallies.unsettled(today - TRIED_DAYS, today, AT_ONCE)
        gate = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def settle(day: int, domain: str) -> bool:
            async with gate:
                return await self._settle(day, domain)

        settled = await asyncio.gather(*(settle(day, domain) for day, domain in due))
        return all(settled) and len(due) < AT_ONCE

    async def _settle(self, day: int, domain: str) -> bool:
        """Send one report, where it is wanted; False where it is to be tried again."""
        answer = await self._resolver.texts(f"_smtp._tls.{domain}")
        if answer.status == "failure":
            return False
        places = report_places(answer.texts)
        result = "not wanted"
        if places:
            tallies = await self._store.tls_tallies.of(day, domain)
            report = report_of(domain, day, tallies, self._config())
            sent = [await self._send(report, place) for place in places]
            if not any(sent):
                return False
            result = "sent"
        if await self._store.tls_tallies.settle(day, domain, self._wall(), result):
            self._metrics.tls_reports.labels(result.replace(" ", "_")).inc()
        return True

    async def _send(self, report: TlsReport, place: str) -> bool:
        """Send a report to one place; whether that went well."""
        try:
            if to := mail_address(place):
                message = report_message(report, to, self._config(), self._wall())
                await self._store.insert(message, None)
                self._changed()
            else:
                await self._post(report, place)
        except (FetchError, StoreError, ValueError) as error:
            self._metrics.tls_reports.labels("failed").inc()
            self._log.warning(
                "a TLS report could not be sent", domain=report.domain, to=place, error=str(error)
            )
            return False
        self._log.info("TLS report sent", domain=report.domain, to=place, report_id=report.id)
        return True

    async def _post(self, report: TlsReport, place: str) -> None:
        """RFC 8460 §5.4: the certificate must be valid, and nothing is sent into private networks.

        Raises `FetchError`, and `ValueError` for a bad URI.
        """
        parts = urlsplit(place)
        request = Request(
            host=parts.hostname or "",
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            port=parts.port or self._port,
            headers={"Content-Type": "application/tlsrpt+gzip"},
            content=report.as_gzip(),
        )
        allow = self._config().delivery.allow_private_destinations
        hosts = PublicHosts(self._resolver, allow_private=allow)
        answer = await ask(request, hosts, self._context)
        if not 200 <= answer.status < 300:
            raise FetchError(f"{request.host} answered {answer.status}")

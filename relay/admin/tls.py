"""What is known of TLS with other relays: policies, counts, and reports as they would be sent."""

from collections.abc import Callable
from dataclasses import dataclass

from relay.admin.control import Refused
from relay.admin.tls_values import TlsCountsRequest, TlsReportRequest, TlsReportText
from relay.config.model import Config
from relay.config.names import parse_domain
from relay.feedback.tls_reports import report_of
from relay.store.interface import Store
from relay.store.tls_values import DAY_MS, StoredPolicy, TlsDay

MOST_LISTED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOperations:
    """`config` is the configuration in force, `clock` gives UTC milliseconds."""

    store: Store
    config: Callable[[], Config]
    clock: Callable[[], int]

    async def policies(self) -> list[StoredPolicy]:
        """The MTA-STS policies that are in force, by domain."""
        known = await self.store.sts_policies.all(MOST_LISTED)
        return [policy for policy in known if policy.ends_at > self.clock()]

    async def counts(self, request: TlsCountsRequest) -> list[TlsDay]:
        """Sessions of the last days, newest first."""
        if not 1 <= request.limit <= MOST_LISTED:
            raise Refused(f"the limit of a listing is from 1 to {MOST_LISTED}, not {request.limit}")
        domain = _domain(request.domain) if request.domain else ""
        return await self.store.tls_tallies.days(domain, request.limit)

    async def report(self, request: TlsReportRequest) -> TlsReportText:
        """The report to one domain. Today's is what it would be if the day ended now."""
        domain = _domain(request.domain)
        if not 0 <= request.day <= self.clock() // DAY_MS:
            raise Refused("a report is of today or of a day before")
        tallies = await self.store.tls_tallies.of(request.day, domain)
        if not tallies:
            raise Refused(f"no session with {domain} was counted on that day", "not_found")
        report = report_of(domain, request.day, tallies, self.config())
        return TlsReportText(report.as_json().decode())


def _domain(text: str) -> str:
    try:
        return parse_domain(text)
    except ValueError as error:
        raise Refused(f"{text!r}: {error}") from None

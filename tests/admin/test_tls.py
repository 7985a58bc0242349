"""What operators are told of TLS with other relays, from what is stored."""

import json

import pytest

from relay.admin.control import Refused
from relay.admin.tls_values import TlsCountsRequest, TlsReportRequest
from relay.store.tls_values import DAY_MS, StoredPolicy, TlsDay, TlsOutcome, TlsTally

_DAY = 1_700_000_000_000 // DAY_MS


async def test_policies_are_listed_until_they_end(operations) -> None:
    now = operations.clock()
    kept = StoredPolicy("a.test", "1", "enforce", ("mx.a.test",), 86400, now - 1000, now)
    ended = StoredPolicy("b.test", "1", "enforce", ("mx.b.test",), 3600, now - 3_600_000, now)
    for policy in (kept, ended):
        await operations.store.sts_policies.put(policy)
    assert await operations.tls.policies() == [kept]


async def test_counts_are_summed_by_day_and_domain(operations) -> None:
    good = TlsTally(TlsOutcome("a.test", "no-policy-found", "a.test"), 5)
    bad = TlsTally(TlsOutcome("b.test", "sts", "b.test", result="certificate-expired"), 2)
    await operations.store.tls_tallies.add(_DAY, [good, bad], 100)
    assert await operations.tls.counts(TlsCountsRequest()) == [
        TlsDay(_DAY, "b.test", 0, 2),
        TlsDay(_DAY, "a.test", 5, 0),
    ]
    assert await operations.tls.counts(TlsCountsRequest("A.test")) == [TlsDay(_DAY, "a.test", 5, 0)]
    with pytest.raises(Refused, match="limit"):
        await operations.tls.counts(TlsCountsRequest(limit=0))
    with pytest.raises(Refused, match="no domain"):
        await operations.tls.counts(TlsCountsRequest("no domain"))


async def test_a_report_is_shown_as_it_would_be_sent(operations) -> None:
    bad = TlsTally(TlsOutcome("a.test", "sts", "a.test", result="certificate-expired"), 2)
    await operations.store.tls_tallies.add(_DAY, [bad], 100)
    found = await operations.tls.report(TlsReportRequest("a.test", _DAY))
    (policy,) = json.loads(found.text)["policies"]
    assert policy["summary"]["total-failure-session-count"] == 2
    with pytest.raises(Refused, match="no session"):
        await operations.tls.report(TlsReportRequest("a.test", _DAY - 1))
    with pytest.raises(Refused, match="today or"):
        await operations.tls.report(TlsReportRequest("a.test", 10**7))

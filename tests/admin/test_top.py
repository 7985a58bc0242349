"""What `relay top` looks at: counters added up, and limits that stand out."""

from relay.admin.control import LimitStatus
from relay.admin.top import Flow, at_their_edge, flows_of
from relay.observe.merging import take_stock
from relay.observe.metrics import Metrics


def test_counters_are_added_up_by_each_thing_that_they_are_counted_by():
    metrics = Metrics()
    labels = {"configuration_set": "news", "pool": "main"}
    for counter, count in ((metrics.recipients_delivered, 5), (metrics.recipients_delivered, 2)):
        known = {name: labels.get(name, "") for name in counter._labelnames}
        counter.labels(**known | {"source": f"192.0.2.{count}"}).inc(count)
    metrics.recipients_accepted.labels("app", "news").inc(9)
    metrics.attempts.labels("main", "192.0.2.1", "google", "delivered").inc(4)
    metrics.attempts.labels("main", "192.0.2.2", "google", "rate_limited").inc(3)
    flows = {(flow.by, flow.name): flow for flow in flows_of(take_stock(metrics.registry))}
    assert flows["all", ""] == Flow("all", "", accepted=9, delivered=7)
    assert flows["set", "news"] == Flow("set", "news", accepted=9, delivered=7)
    assert flows["pool", "main"] == Flow("pool", "main", delivered=7)
    assert flows["provider", "google"] == Flow("provider", "google", delivered=4, deferred=3)
    assert flows["source", "192.0.2.5"] == Flow("source", "192.0.2.5", delivered=5)
    assert not [flow for flow in flows.values() if not flow.name and flow.by != "all"]


def test_limits_stand_out_that_hold_mail_up_or_soon_will():
    def status(key: str, used: int, free_at: int = 0) -> LimitStatus:
        return LimitStatus(key, "quota", "100/day", used, free_at)

    shown = at_their_edge(
        [
            (status("set:calm", 79), 100),
            (status("set:near", 80), 100),
            (status("set:full", 100, free_at=5), 100),
            (status("set:paced", 1, free_at=5), 100),
        ]
    )
    assert [limit.key for limit in shown] == ["set:full", "set:near", "set:paced"]

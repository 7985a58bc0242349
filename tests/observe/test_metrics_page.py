import re
from pathlib import Path

from prometheus_client import generate_latest

from relay.observe.metrics import Metrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"\| `(relay_\w+)` \| (\w+) \| (.*?) \| (.*) \|")
BOUNDED = {
    "action",
    "bounce_type",
    "bounce_subtype",
    "certificate",
    "configuration_set",
    "credential",
    "destination",
    "direction",
    "kind",
    "level",
    "listener",
    "name",
    "outcome",
    "policy",
    "pool",
    "provider",
    "python",
    "reason",
    "result",
    "source",
    "state",
    "type",
    "version",
}


def rows_of_the_page() -> set[tuple[str, str, tuple[str, ...], str]]:
    return {
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in ROW.findall(PAGE.read_text())
    }


def test_the_page_and_the_registry_list_the_same_metrics():
    registered = {(d.name, d.kind, d.labels, d.meaning) for d in Metrics().described}
    assert rows_of_the_page() == registered


def test_what_is_scraped_has_the_names_that_are_listed():
    metrics = Metrics()
    families = {family.name for family in metrics.registry.collect()}
    listed = {re.sub(r"(_total|_info)$", "", d.name) for d in metrics.described}
    assert families == listed


def test_labels_come_from_bounded_sets_only():
    assert {label for d in Metrics().described for label in d.labels} <= BOUNDED


def test_a_child_is_the_same_object_every_time():
    metrics = Metrics()
    first = metrics.child(metrics.logins, "main", "ok")
    assert metrics.child(metrics.logins, "main", "ok") is first
    first.inc()
    assert b'relay_logins_total{listener="main",result="ok"} 1.0' in generate_latest(
        metrics.registry
    )


def test_counters_bring_no_second_series_with_their_birth():
    metrics = Metrics()
    metrics.claims_lost.inc()
    assert b"_created" not in generate_latest(metrics.registry)


def test_two_relays_in_one_process_share_nothing():
    one, other = Metrics(), Metrics()
    one.claims_lost.inc()
    assert b"relay_claims_lost_total 0.0" in generate_latest(other.registry)

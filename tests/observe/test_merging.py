"""One `/metrics` for several processes."""

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from relay.observe.merging import Merged, counts, merge, take_stock
from relay.observe.metrics import Metrics


def stock(*, accepted: int = 0, connections: int = 0, epoch: int = 0, seconds: float = 0.0):
    metrics = Metrics(CollectorRegistry())
    metrics.messages_accepted.labels("main", "app", "default").inc(accepted)
    metrics.outbound_connections.labels("127.0.0.2", "other").set(connections)
    metrics.config_epoch.set(epoch)
    if seconds:
        metrics.commit_seconds.observe(seconds)
    return take_stock(metrics.registry)


def shown(families) -> str:
    return generate_latest(Merged(families)).decode()


def test_a_single_process_looks_as_it_does_by_itself() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.messages_accepted.labels("main", "app", "default").inc(3)
    metrics.commit_seconds.observe(0.002)
    metrics.build.info({"version": "1", "python": "3"})
    alone = generate_latest(metrics.registry).decode()
    assert shown(merge(take_stock(metrics.registry), (), metrics.additive)) == alone


def test_counters_and_histograms_are_added_up() -> None:
    text = shown(
        merge(
            stock(),
            [stock(accepted=2, seconds=0.002), stock(accepted=5, seconds=0.003)],
            Metrics(CollectorRegistry()).additive,
        )
    )
    series = 'relay_messages_accepted_total{configuration_set="default",credential="app"'
    assert f'{series},listener="main"}} 7.0' in text
    assert "relay_store_commit_seconds_count 2.0" in text
    assert 'relay_store_commit_seconds_bucket{le="0.0025"} 1.0' in text


def test_gauges_are_sums_of_parts_or_the_supervisors_alone() -> None:
    text = shown(
        merge(
            stock(epoch=4),
            [stock(connections=2, epoch=1), stock(connections=3, epoch=1)],
            Metrics(CollectorRegistry()).additive,
        )
    )
    assert 'relay_outbound_connections{provider="other",source="127.0.0.2"} 5.0' in text
    assert "relay_config_epoch 4.0" in text


def test_what_a_dead_process_has_counted_stays_and_what_it_held_does_not() -> None:
    dead = counts(stock(accepted=5, connections=3))
    text = shown(merge(stock(), [dead, stock(accepted=1)], Metrics(CollectorRegistry()).additive))
    assert 'listener="main"} 6.0' in text
    assert 'relay_outbound_connections{provider="other",source="127.0.0.2"} 0.0' in text


@settings(deadline=None)  # a registry is slow to make on a busy machine
@given(st.lists(st.integers(0, 1_000), max_size=6))
def test_a_merged_counter_is_the_sum_however_many_processes_there_are(parts: list[int]) -> None:
    additive = Metrics(CollectorRegistry()).additive
    merged = merge(stock(accepted=1), [stock(accepted=part) for part in parts], additive)
    [family] = [family for family in merged if family.name == "relay_messages_accepted"]
    assert [sample.value for sample in family.samples] == [1 + sum(parts)]

"""Events counted in the relay's metrics."""

from dataclasses import replace

from prometheus_client import generate_latest

from relay.config.events import Dimension, PrometheusCounters
from relay.events.destinations.counters import CountersDestination, value_of
from relay.observe.merging import Merged, merge, take_stock
from relay.observe.metrics import Metrics
from tests.events.destinations.web import some


def tagged(notification, **tags):
    message = replace(notification.message, tags=tuple(tags.items()))
    return replace(notification, message=message)


async def test_recipients_are_counted_by_type_and_dimension():
    metrics = Metrics()
    config = PrometheusCounters(type="prometheus", dimensions=({"name": "campaign"},))
    out = CountersDestination("counters", config, metrics.sending_events)
    (send,) = some("Send")
    several = replace(send.event, recipients=("a@x.test", "b@x.test"))
    await out.tell([tagged(send, campaign="autumn"), tagged(send, campaign="autumn"), send])
    await out.tell([replace(tagged(send, Campaign="spring"), event=several)])
    text = generate_latest(metrics.registry).decode()
    for line in (
        'relay_sending_events_total{campaign="autumn",destination="counters",type="Send"} 2.0',
        'relay_sending_events_total{campaign="none",destination="counters",type="Send"} 1.0',
        'relay_sending_events_total{campaign="spring",destination="counters",type="Send"} 2.0',
    ):
        assert line in text


async def test_values_beyond_the_bound_are_other():
    metrics = Metrics()
    config = PrometheusCounters(
        type="prometheus", dimensions=({"name": "campaign"},), most_values=2
    )
    out = CountersDestination("counters", config, metrics.sending_events)
    (send,) = some("Send")
    await out.tell([tagged(send, campaign=str(number)) for number in range(50)])
    await out.tell([send, tagged(send, campaign="1")])
    samples = {
        sample.labels["campaign"]: sample.value
        for family in metrics.sending_events.collect()
        for sample in family.samples
    }
    assert samples == {"0": 1, "1": 2, "other": 48, "none": 1}


def test_a_dimension_is_read_from_a_header_field():
    message = some()[0].message
    assert value_of(Dimension(name="subject", source="header"), message) == (
        "A test of event destinations"
    )
    assert value_of(Dimension(name="x", source="header", key="X-Shop"), message) == "none"
    assert value_of(Dimension(name="x", default="nobody"), None) == "nobody"


def test_a_value_is_short_and_printable():
    (send,) = some()
    message = replace(send.message, tags=(("campaign", "a\nb" + "x" * 500),))
    value = value_of(Dimension(name="campaign"), message)
    assert len(value) <= 64
    assert value.isprintable()


async def test_counters_of_several_destinations_are_merged_with_those_of_other_processes():
    metrics = Metrics()
    for name, dimension in (("a", "campaign"), ("b", "shop")):
        config = PrometheusCounters(type="prometheus", dimensions=({"name": dimension},))
        out = CountersDestination(name, config, metrics.sending_events)
        await out.tell(some("Send"))
    stock = take_stock(metrics.registry)
    text = generate_latest(Merged(merge(take_stock(Metrics().registry), [stock], frozenset())))
    assert b'relay_sending_events_total{campaign="none",destination="a",type="Send"} 1.0' in text
    assert b'relay_sending_events_total{destination="b",shop="none",type="Send"} 1.0' in text

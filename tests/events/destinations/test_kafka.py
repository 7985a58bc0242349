"""A topic of Kafka: the real client, and a broker that speaks the protocol."""

import json
from dataclasses import replace

from relay.config.events import KafkaTopic
from relay.events.destinations.kafka import KafkaDestination
from relay.events.patience import Failed, Refused, Told
from tests.events.destinations.broker import TOPIC, broker
from tests.events.destinations.web import some

NOT_ENOUGH_REPLICAS, MESSAGE_TOO_LARGE, TOPIC_AUTHORIZATION_FAILED = 19, 10, 29


def destination(port: int) -> KafkaDestination:
    settings = {"type": "kafka", "brokers": [f"127.0.0.1:{port}"], "topic": TOPIC, "tls": False}
    return KafkaDestination(KafkaTopic.model_validate(settings | {"timeout": "1s"}))


def about(message_id: str, *types: str):
    """Events of one message."""
    return [
        replace(one, event=replace(one.event, id=f"{message_id}-{one.event.type}",
                                   message_id=message_id))
        for one in some(*types)
    ]  # fmt: skip


async def test_an_event_is_a_record_with_the_message_as_its_key():
    async with broker() as site:
        out = destination(site.port)
        (event,) = some("Delivery")
        (outcome,) = await out.tell([event])
        await out.close()
    assert isinstance(outcome, Told)
    ((_, key, value, headers),) = site.records
    assert key == event.event.message_id.encode()
    assert json.loads(value)["eventType"] == "Delivery"
    assert headers == {"event-id": event.event.id.encode(), "event-type": b"Delivery"}
    assert site.acks == {-1}


async def test_events_of_a_message_are_in_one_partition_in_order():
    async with broker() as site:
        out = destination(site.port)
        messages = [f"m{number}" for number in range(20)]
        for word in ("Send", "Delivery"):
            batch = [event for one in messages for event in about(one, word)]
            assert all(isinstance(outcome, Told) for outcome in await out.tell(batch))
        await out.close()
    assert {partition for partition, *_ in site.records} == {0, 1}
    for message in messages:
        own = [record for record in site.records if record[1] == message.encode()]
        assert len({partition for partition, *_ in own}) == 1
        assert [record[3]["event-type"] for record in own] == [b"Send", b"Delivery"]


async def test_a_broker_that_cannot_take_it_now_is_trouble():
    async with broker() as site:
        site.error = NOT_ENOUGH_REPLICAS
        out = destination(site.port)
        (outcome,) = await out.tell(some())
        assert isinstance(outcome, Failed)
        site.error = 0
        assert isinstance((await out.tell(some()))[0], Told)
        await out.close()
    assert len(site.records) == 1


async def test_a_record_that_the_broker_finds_too_large_is_refused():
    async with broker() as site:
        site.error = MESSAGE_TOO_LARGE
        out = destination(site.port)
        (outcome,) = await out.tell(some())
        await out.close()
    assert isinstance(outcome, Refused)


async def test_a_topic_that_may_not_be_written_is_trouble():
    async with broker() as site:
        site.error = TOPIC_AUTHORIZATION_FAILED
        out = destination(site.port)
        (outcome,) = await out.tell(some())
        await out.close()
    assert isinstance(outcome, Failed)


async def test_a_broker_that_went_away_is_told_when_it_is_back():
    async with broker() as site:
        out = destination(site.port)
        await out.tell(some())
    (outcome,) = await out.tell(some())
    assert isinstance(outcome, Failed)
    (outcome,) = await out.tell(some())
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("no connection: ")
    await out.close()

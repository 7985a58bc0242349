"""Events reach destinations of the real program."""

import hashlib
import hmac
import json

import pytest

from tests.e2e.endpoint import Endpoint
from tests.e2e.program import wait_until


@pytest.fixture
def consumer():
    made = Endpoint()
    yield made
    made.close()


def told_to(endpoint: Endpoint, **more) -> dict:
    """A section of the configuration that tells it."""
    return {"type": "webhook", "url": endpoint.url, "allow": ["127.0.0.1"], **more}


def events(endpoint: Endpoint) -> list[dict]:
    """What it took."""
    return [json.loads(body) for _, body in list(endpoint.taken)]


def tell(document, **destinations) -> None:
    """Have all mail told to these."""
    document["events"] = destinations
    for settings in document["configuration_sets"].values():
        settings["events"] = list(destinations)


def test_a_message_is_told_by_webhook_sns_and_file_and_counted(program, receiver, consumer):
    other = Endpoint()
    program.configure(
        lambda document: tell(
            document,
            hook=told_to(consumer, secrets=["a secret of the consumer"]),
            topic=told_to(other, type="sns"),
            file={"type": "file", "path": "events/all.jsonl"},
            counters={"type": "prometheus", "dimensions": [{"name": "campaign"}]},
        )
    )
    program.start()
    try:
        program.send(headers="X-SES-MESSAGE-TAGS: campaign=autumn\r\n")
        wait_until(lambda: len(consumer.taken) == 2, what="Send and Delivery")
        wait_until(lambda: len(other.taken) == 2, what="the same for SNS")
    finally:
        other.close()
    send, delivery = events(consumer)
    assert (send["eventType"], delivery["eventType"]) == ("Send", "Delivery")
    assert send["mail"]["messageId"] == delivery["mail"]["messageId"]
    assert send["mail"]["tags"]["campaign"] == ["autumn"]
    assert delivery["delivery"]["recipients"] == ["to@dest.test"]
    for headers, body in consumer.taken:
        signed = headers["X-Relay-Timestamp"].encode() + b"." + body
        digest = hmac.new(b"a secret of the consumer", signed, hashlib.sha256).hexdigest()
        assert headers["X-Relay-Signature"] == f"v1={digest}"
    assert [json.loads(event["Message"])["eventId"] for event in events(other)] == [
        send["eventId"],
        delivery["eventId"],
    ]
    path = program.directory / "events/all.jsonl"
    wait_until(lambda: path.exists() and path.read_text().count("\n") == 2, what="the file")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [send, delivery]
    wait_until(
        lambda: program.metric(
            "relay_sending_events_total", type="Delivery", campaign="autumn"
        ) == 1,
        what="the counters",
    )  # fmt: skip
    states = {state["name"]: state for state in program.json("events")}
    assert {state["condition"] for state in states.values()} == {"up"}
    assert states["hook"]["told"] == 2


def test_one_that_is_down_costs_nobody_else_and_is_told_when_it_is_back(
    program, receiver, consumer
):
    consumer.status = lambda _: 503
    program.configure(
        lambda document: tell(
            document,
            hook=told_to(consumer),
            file={"type": "file", "path": "events/all.jsonl"},
        )
    )
    program.start()
    for number in range(5):
        program.send(message_id=f"<{number}@client.test>")
    path = program.directory / "events/all.jsonl"
    wait_until(lambda: path.exists() and path.read_text().count("\n") == 10, what="the file")
    wait_until(lambda: consumer.requests, what="a try")
    ran = program.run("events", check=False)
    assert ran.returncode == 1
    assert "hook is down" in ran.stdout
    assert "answered 503" in ran.stdout
    wait_until(lambda: program.metric("relay_event_backlog", destination="hook") == 10)
    consumer.status = lambda _: 200
    wait_until(lambda: len(consumer.taken) == 10, what="all events")
    wait_until(lambda: program.metric("relay_event_backlog", destination="hook") == 0)


def test_what_a_consumer_will_not_take_is_a_dead_letter_until_it_is_replayed(
    program, receiver, consumer
):
    consumer.status = lambda _: 400
    program.configure(lambda document: tell(document, hook=told_to(consumer, events=["delivery"])))
    program.start()
    program.send()
    wait_until(lambda: program.json("events", "dead", "hook"), 40, "a dead letter")
    (letter,) = program.json("events", "dead", "hook")
    assert (letter["type"], letter["error"]) == ("Delivery", "answered 400")
    shown = program.run("events", "dead", "--show", str(letter["id"])).stdout
    assert "to@dest.test" in shown
    ran = program.run("events", "replay", "hook", check=False)
    assert (ran.returncode, ran.stdout) == (1, "told: 0 events, refused: 1\n")
    consumer.status = lambda _: 200
    assert program.run("events", "replay", "hook").stdout == "told: 1 event, refused: 0\n"
    assert [event["eventType"] for event in events(consumer)] == ["Delivery"]
    assert program.json("events", "dead", "hook") == []
    assert program.run("events", "replay", "hook", "--since", "1h").stdout == (
        "told: 1 event, refused: 0\n"
    )
    assert len({event["eventId"] for event in events(consumer)}) == 1


def test_a_reload_adds_and_removes_destinations(program, receiver, consumer):
    program.start()
    program.send(message_id="<before@client.test>")
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    program.configure(lambda document: tell(document, hook=told_to(consumer)))
    program.run("reload")
    results = program.json("events", "test", "hook")
    assert len(results) == 6
    assert all(result["told"] for result in results)
    consumer.taken.clear()
    program.send(message_id="<after@client.test>")
    wait_until(lambda: len(consumer.taken) == 2, what="events")
    ids = {event["mail"]["commonHeaders"]["messageId"] for event in events(consumer)}
    assert ids == {"<after@client.test>"}
    program.configure(tell)  # of none
    program.run("reload")
    assert program.run("events").stdout == "no event destination is configured\n"

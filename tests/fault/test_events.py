"""kill -9, and events: what was told equals what happened, and what was told twice has one id."""

import json
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.endpoint import Endpoint
from tests.e2e.program import Program, descendants, wait_until
from tests.e2e.receiver import Action, Receiver
from tests.events.schemas import valid
from tests.fault.lanes import Lanes

KILLS = 6
LANES = 4
RECIPIENTS: dict[str, Callable[[Any], list[str]]] = {
    "Send": lambda event: event["mail"]["destination"],
    "Delivery": lambda event: event["delivery"]["recipients"],
    "Bounce": lambda event: [one["emailAddress"] for one in event["bounce"]["bouncedRecipients"]],
}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


def scribe_of(program: Program) -> int:
    """The process that files and tells."""
    assert program.process is not None
    for process in descendants(program.process.pid):
        if b"scribe" in Path(f"/proc/{process}/cmdline").read_bytes():
            return process
    raise AssertionError("there is no scribe")


def some_mail(lane: int, number: int) -> tuple[list[str], str]:
    """Every fourth message has a recipient who does not exist, each another one."""
    recipients = ["to@one.test"]
    if number % 4 == 0:
        recipients.append(f"gone-{lane}-{number}@one.test")
    return recipients, "Hello.\r\n"


def refuse_who_is_gone(stage: str, text: str) -> Action:
    return "550 5.1.1 User unknown" if stage == "rcpt" and "gone-" in text else None


class Story:
    """What an endpoint was told, message by message (the client's Message-ID)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._requests = endpoint.requests
        self._read = 0
        self._bodies: dict[str, bytes] = {}
        self.of: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.repeated = 0

    def read(self) -> None:
        """Read on. What comes again is what came before, to the octet."""
        for _, body in self._requests[self._read :]:
            self._read += 1
            event = json.loads(body)
            if event["eventId"] in self._bodies:
                assert body == self._bodies[event["eventId"]]
                self.repeated += 1
                continue
            self._bodies[event["eventId"]] = body
            kind = event["eventType"]
            name = event["mail"]["commonHeaders"]["messageId"]
            self.of[name] += [(kind, address) for address in RECIPIENTS[kind](event)]


def happened_to(recipients: tuple[str, ...]) -> list[tuple[str, str]]:
    """What has to be told of a message that was acknowledged."""
    sent = [("Send", address) for address in recipients]
    ends = [("Bounce" if "gone-" in one else "Delivery", one) for one in recipients]
    return sent + ends


@pytest.mark.timeout(240)
def test_events_equal_what_happened_over_kills_at_any_moment(
    program: Program, receiver: Receiver, endpoint: Endpoint
) -> None:
    def configure(document: Any) -> None:
        document["events"] = {
            "hook": {"type": "webhook", "url": endpoint.url, "allow": ["127.0.0.1"]}
        }
        for chosen in document["configuration_sets"].values():
            chosen["events"] = ["hook"]
        document["retry"] = {"schedule": ["1s"]}
        document["reputation"] = {"bounces": {"pause": "never"}}

    chance = random.Random(20261126)
    program.configure(configure)
    receiver.behave = refuse_who_is_gone
    endpoint.status = lambda number: 503 if number % 200 == 99 else 200
    program.start()
    lanes = Lanes(program, LANES, some_mail)
    try:
        for kill in range(KILLS):
            before = len(lanes.acknowledged)
            wait_until(lambda before=before: len(lanes.acknowledged) > before, what="mail again")
            time.sleep(chance.uniform(0.0, 0.5))  # the moment of a kill is what is varied
            if kill % 3 == 2:
                os.kill(scribe_of(program), signal.SIGKILL)
            else:
                program.kill()
                program.start()
    finally:
        lanes.stop()

    story = Story(endpoint)

    def all_is_told() -> bool:
        story.read()
        return all(
            len(story.of[name]) >= len(happened_to(recipients))
            for name, recipients in lanes.acknowledged.items()
        )

    wait_until(all_is_told, 60, "all that happened")
    for name, recipients in lanes.acknowledged.items():
        events = story.of[name]
        assert sorted(events) == sorted(happened_to(recipients)), name
        assert [kind for kind, _ in events[: len(recipients)]] == ["Send"] * len(recipients)
    taken = {(m.header("Message-ID"), to) for m in receiver.messages for to in m.recipients}
    for name, events in story.of.items():
        delivered = [address for kind, address in events if kind == "Delivery"]
        assert {(name, address) for address in delivered} <= taken
    for _, body in endpoint.requests[:: len(endpoint.requests) // 100]:
        valid(body)
    print(
        f"\n{KILLS} kills, {len(lanes.acknowledged)} messages, {len(endpoint.requests)} requests,"
        f" {story.repeated} of them repetitions"
    )
    assert story.repeated > 0  # the endpoint answered 503, and took it

"""The node that files and tells for a fleet dies: another does, and nothing is lost or doubled."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.endpoint import Endpoint
from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import Receiver
from tests.fault.test_events import endpoint, scribe_of

__all__ = ["endpoint"]

LEASE = 5  # seconds


def _joins(url: str, name: str, endpoint: Endpoint) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        document["store"] = {"url": url, "lease": f"{LEASE}s"}
        document["fleet"] = {"node": name}
        document["workers"] = 1
        document["events"] = {
            "hook": {"type": "webhook", "url": endpoint.url, "allow": ["127.0.0.1"]}
        }
        for chosen in document["configuration_sets"].values():
            chosen["events"] = ["hook"]

    return change


@pytest.fixture
def fleet(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint, postgres_url: str
) -> Iterator[list[Program]]:
    """Two relays that share a store; `one` runs, and has the duty."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(Program(tmp_path / name / "relay", receiver.port))
        made[-1].configure(_joins(postgres_url, name, endpoint))
    made[0].start()
    wait_until(lambda: made[0].metric("relay_scribes") == 1, what="a scribe of one")
    made[1].start()
    yield made
    for program in made:
        program.stop()


class Told:
    """What the endpoint was told: the recipients of each kind, and how often each event."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._requests = endpoint.requests

    def events(self) -> list[tuple[str, str, str]]:
        """Ids, kinds and recipients."""
        found = []
        for _, body in list(self._requests):
            event = json.loads(body)
            found.append((event["eventId"], event["eventType"], event["mail"]["destination"][0]))
        return found

    def of(self, name: str) -> set[str]:
        """What was told of the message to a recipient."""
        return {kind for _, kind, to in self.events() if to == f"{name}@dest.test"}


def send(program: Program, *names: str) -> None:
    for name in names:
        program.send([f"{name}@dest.test"])


@pytest.mark.timeout(240)
def test_whoever_is_frozen_or_dies_another_node_tells_what_happens_and_once(
    fleet: list[Program], endpoint: Endpoint
) -> None:
    one, two = fleet
    told = Told(endpoint)
    names = [f"first-{n}" for n in range(3)]
    send(two, *names)  # what happens on one node is told by the other
    wait_until(lambda: all("Delivery" in told.of(name) for name in names), what="the first")
    assert two.metric("relay_scribes") == 0
    (state,) = two.json("events")
    assert (state["condition"], state["told_by"]) == ("elsewhere", "one")
    refused = two.run("events", "test", "hook", check=False)
    assert refused.returncode != 0
    assert "the node one tells events for the fleet" in refused.stderr

    assert one.process is not None
    frozen = [one.process.pid, scribe_of(one)]
    for process in frozen:
        os.kill(process, signal.SIGSTOP)
    send(two, "second")
    wait_until(lambda: "Delivery" in told.of("second"), what="what happened meanwhile")
    assert two.json("events")[0]["condition"] == "up"
    for process in frozen:
        os.kill(process, signal.SIGCONT)
    wait_until(lambda: one.metric("relay_scribes") == 0, what="one giving up")
    send(one, "third")
    wait_until(lambda: "Delivery" in told.of("third"), what="what happened then")
    assert two.metric("relay_scribes") == 1

    two.kill()
    send(one, "fourth")
    wait_until(lambda: "Delivery" in told.of("fourth"), what="what happened after the kill")
    assert len(one.json("messages", "--status", "delivered")["messages"]) == 6
    _each_once(told)
    assert one.terminate() == 0
    assert "this node has given up a duty of the fleet" in one.log()


def _each_once(told: Told) -> None:
    """Whatever was told again had the id that it had before."""
    different = {(kind, to) for _, kind, to in told.events()}
    assert len({event for event, _, _ in told.events()}) == len(different)

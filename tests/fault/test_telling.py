"""kill -9 of those who tell: every event is told, and what is told twice has the same id."""

import contextlib
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.e2e.consumer import Consumer
from tests.e2e.program import Program, descendants, wait_until
from tests.e2e.receiver import Receiver
from tests.fault.lanes import Lanes

KILLS = 12


def scribe_of(program: Program) -> int | None:
    for process in descendants(program.process.pid):
        with contextlib.suppress(OSError):
            if b"relay.runtime.scribe" in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
    return None


def logged(program: Program) -> set[int]:
    """The numbers of all events in the log, asked of the database itself."""
    db = sqlite3.connect(f"file:{program.directory / 'data/log.db'}?mode=ro", uri=True)
    try:
        return {number for (number,) in db.execute("SELECT number FROM event")}
    finally:
        db.close()


@pytest.mark.timeout(120)
def test_events_that_are_received_are_what_happened_whoever_is_killed_when(
    program: Program, receiver: Receiver
) -> None:
    """The scribe is killed, or all of the relay, between a change of state, its event, the telling
    and the cursor: whenever it happens to be."""
    consumer = Consumer()
    chance = random.Random(20261126)

    def change(document) -> None:
        document["events"] = {"hook": consumer.destination()}
        document["retry"] = {"schedule": ["1s"]}
        document["logging"] = {"level": "warning"}
        for settings in document["configuration_sets"].values():
            settings["events"] = ["hook"]

    program.configure(change)
    receiver.keep_bodies = False
    program.start()
    lanes = Lanes(program, 2, lambda lane, number: (["to@one.test"], "Hello.\r\n"))
    try:
        for turn in range(KILLS):
            before = len(lanes.acknowledged)
            wait_until(lambda before=before: len(lanes.acknowledged) > before, what="mail again")
            time.sleep(chance.uniform(0.0, 0.5))  # the moment of a kill is what is varied
            if turn % 4 == 3:
                program.kill()
                program.start()
            else:
                wait_until(lambda: scribe_of(program), what="a scribe")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(scribe_of(program) or 0, signal.SIGKILL)
    finally:
        lanes.stop()

    def told() -> dict[str, set[str]]:
        """The types of events of each message, by the id that its client gave it."""
        found: dict[str, set[str]] = {}
        for event in consumer.events():
            of = event["mail"]["commonHeaders"]["messageId"]
            found.setdefault(of, set()).add(event["eventType"])
        return found

    def everything_is_told() -> bool:
        known = told()
        return all(known.get(name, set()) >= {"Send", "Delivery"} for name in acknowledged)

    acknowledged = lanes.acknowledged.copy()
    try:
        wait_until(everything_is_told, 60, "events of all that was acknowledged")
        wait_until(
            lambda: program.metric("relay_event_backlog", destination="hook") == 0,
            what="no backlog",
        )
        events = consumer.events()
        by_id = {event["eventId"]: event for event in events}
        assert all(by_id[event["eventId"]] == event for event in events)
        assert len(by_id) == len(logged(program))
        assert set().union(*told().values()) <= {"Send", "Delivery", "DeliveryDelay"}
        print(
            f"\n{KILLS} kills, {len(lanes.acknowledged)} acknowledged, {len(by_id)} events,"
            f" {len(events) - len(by_id)} told twice"
        )
        assert len(lanes.acknowledged) > KILLS
    finally:
        consumer.close()

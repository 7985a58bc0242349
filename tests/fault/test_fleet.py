"""Three relays on one PostgreSQL: nodes die, are stopped, and the database dies under them."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.store.postgres.place import Place
from tests.e2e.program import Program, descendants, wait_until
from tests.e2e.receiver import Receiver
from tests.fault.lanes import Lanes
from tests.fault.test_kill import copies, some_mail
from tests.postgres import PostgresServer, find_programs

LEASE = 5.0
LANES = 2
CONNECTIONS = 4
NODES = ("a", "b", "c")


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    """One that a test may kill."""
    programs = find_programs()
    if programs is None:
        if os.environ.get("RELAY_CI"):
            pytest.fail("the server programs of PostgreSQL are not installed")
        pytest.skip("the server programs of PostgreSQL are not installed")
    server = PostgresServer(programs)
    server.make()
    server.start()
    server.make_template()
    yield server
    server.remove()


@pytest.fixture
def fleet(tmp_path: Path, receiver: Receiver, database: PostgresServer) -> Iterator[list[Program]]:
    """Three nodes that share a store, not started."""
    url = database.new_database()

    def of(name: str):
        def change(document) -> None:
            document["store"] = {"url": url, "lease": f"{LEASE:g}s"}
            document["fleet"] = {"node": name}
            document["workers"] = 1
            document["delivery"] = {"connections_per_destination": CONNECTIONS}
            document["retry"] = {"schedule": ["1s"]}
            document["logging"] = {"level": "warning"}

        return change

    first = Program(tmp_path / "a", receiver.port)
    first.configure(of("a"))
    nodes = [first, *(first.twin(tmp_path / name, of(name)) for name in NODES[1:])]
    yield nodes
    for node in nodes:
        node.stop()


def signal_all(program: Program, what: signal.Signals) -> None:
    """To every process of a node."""
    assert program.process is not None
    for process in (program.process.pid, *descendants(program.process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, what)


def left_in(url: str) -> tuple[int, int]:
    """Messages and deliveries that are still stored."""

    async def ask() -> tuple[int, int]:
        session = await Place(url).connect()
        try:
            row = await session.fetchrow(
                "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM delivery)"
            )
            assert row is not None
            return row[0], row[1]
        finally:
            session.terminate()

    return asyncio.run(ask())


def missing(lanes: list[Lanes], receiver: Receiver) -> set[tuple[str, str]]:
    arrived = copies(receiver)
    return {
        (name, recipient)
        for some in lanes
        for name, recipients in some.acknowledged.copy().items()
        for recipient in recipients
        if (name, recipient) not in arrived
    }


def more_mail(lanes: list[Lanes], of: list[int], count: int = 10) -> None:
    """Wait until each of these nodes has taken some more."""
    before = [len(some.acknowledged) for some in lanes]
    wait_until(
        lambda: all(len(lanes[n].acknowledged) >= before[n] + count for n in of),
        60,
        f"mail again at {of}",
    )


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_when_nodes_and_the_database_die(
    fleet: list[Program], receiver: Receiver, database: PostgresServer
) -> None:
    receiver.keep_bodies = False
    for node in fleet:
        node.start()
    lanes = [
        Lanes(node, LANES, some_mail, f"{name}.test")
        for node, name in zip(fleet, NODES, strict=True)
    ]
    moments: list[tuple[str, float]] = []

    def happens(what: str) -> None:
        moments.append((what, time.monotonic()))

    try:
        more_mail(lanes, [0, 1, 2])
        happens("node a is killed")
        fleet[0].kill()
        more_mail(lanes, [1, 2])
        happens("node b is stopped")
        signal_all(fleet[1], signal.SIGSTOP)
        began = time.monotonic()
        wait_until(lambda: time.monotonic() > began + 1.5 * LEASE, what="the end of its lease")
        happens("node b goes on")
        signal_all(fleet[1], signal.SIGCONT)
        more_mail(lanes, [1, 2])
        happens("the database is restarted")
        database.stop(signal.SIGINT)
        assert "is in force" in fleet[1].run("reload").stdout
        database.start()
        more_mail(lanes, [1, 2])
        happens("the database is killed")
        database.stop(signal.SIGKILL)
        database.start()
        more_mail(lanes, [1, 2])
    finally:
        for some in lanes:
            some.stop()
    url = fleet[1].document()["store"]["url"]
    wait_until(lambda: not missing(lanes, receiver), 60, "delivery of all that was acknowledged")
    wait_until(lambda: left_in(url) == (0, 0), 60, "an empty queue")
    explain(lanes, receiver, moments, fleet)


def explain(
    lanes: list[Lanes],
    receiver: Receiver,
    moments: list[tuple[str, float]],
    fleet: list[Program],
) -> None:
    """Whatever came twice did so because of something that happened, and is bounded by what was on
    its way then."""
    counted = copies(receiver)
    twice = {key: count for key, count in counted.items() if count > 1}
    doubtful = sum(node.metric("relay_possible_duplicates_total") for node in fleet[1:])
    print(
        f"\n{sum(some.sent for some in lanes)} sent,"
        f" {sum(len(some.acknowledged) for some in lanes)} acknowledged, {len(counted)} delivered,"
        f" {sum(twice.values()) - len(twice)} duplicates, {doubtful:g} marked as possible ones"
    )
    first: dict[tuple[str, str], float] = {}
    for message in list(receiver.messages):
        for recipient in message.recipients:
            first.setdefault((message.header("Message-ID"), recipient), message.at)
    for key in twice:
        causes = [what for what, at in moments if -1.0 < at - first[key] < 3 * LEASE]
        assert causes, f"{key} came twice, and nothing had happened"
    assert sum(twice.values()) - len(twice) <= len(moments) * len(NODES) * CONNECTIONS * 2


RATE = 30
QUOTA = 300


@pytest.mark.timeout(300)
def test_a_rate_and_a_quota_hold_over_all_nodes_also_when_one_dies(
    fleet: list[Program], receiver: Receiver
) -> None:
    def limit(document) -> None:
        document["configuration_sets"]["default"]["rate"] = f"{RATE}/s"
        document["credentials"]["app"].update(quota=f"{QUOTA}/day", on_limit="reject")

    for node in fleet:
        node.configure(limit)
        node.start()
    lanes = [
        Lanes(node, LANES, lambda lane, number: (["to@one.test"], "Hello.\r\n"), f"{name}.test")
        for node, name in zip(fleet, NODES, strict=True)
    ]
    try:
        wait_until(lambda: len(receiver.messages) >= 2 * RATE, 60, "some mail")
        fleet[0].kill()
        wait_until(lambda: all(_is_used_up(some) for some in lanes[1:]), 60, "the end of the quota")
    finally:
        for some in lanes:
            some.stop()
    wait_until(lambda: not missing(lanes, receiver), 60, "delivery of all that was acknowledged")
    acknowledged = sum(len(some.acknowledged) for some in lanes)
    arrived = set(receiver.ids())
    times = sorted(message.at for message in receiver.messages)
    most = max(sum(1 for at in times if start <= at < start + 1.0) for start in times)
    print(f"\n{acknowledged} acknowledged, {len(arrived)} arrived, {most} in a second at most")
    assert len(arrived) <= QUOTA
    # What a dead node held of the quota, and no more, is lost until its window is over.
    assert len(arrived) >= QUOTA - 10
    # A permit more than what left in a second: the ways to the receiver are not of equal length.
    assert most <= RATE + 2
    assert times[-1] - times[0] <= 3 * QUOTA / RATE


def _is_used_up(lanes: Lanes) -> bool:
    return any(b"Daily message quota exceeded" in refusal.smtp_error for refusal in lanes.refused)

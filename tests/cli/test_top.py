"""`relay top`: two looks as rates, in lines, as JSON, and on a terminal."""

import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path

import pytest

from relay.admin.control import LimitStatus, QueueStatus
from relay.admin.top import Flow, Look
from relay.cli.top_view import compared, headline, sections
from relay.delivery.backlog import LineBacklog
from relay.feedback.restraints import Restraint
from relay.store.values import Suspension

ROOT = Path(__file__).parents[2]
NOW = 1_800_000_000_000
BEFORE = Look(
    at=NOW,
    flows=(
        Flow("all", "", 100, 50, 5, 1),
        Flow("set", "news", 100, 50, 5, 1),
        Flow("source", "192.0.2.1", 0, 50, 5, 1),
    ),
)
AFTER = Look(
    at=NOW + 2_000,
    queue=(QueueStatus("news", 40, 2, NOW - 58_000), QueueStatus("bills", 0, 0, 0)),
    flows=(
        Flow("all", "", 120, 66, 5, 2),
        Flow("set", "news", 120, 66, 5, 2),
        Flow("source", "192.0.2.1", 0, 66, 5, 2),
        Flow("provider", "google", 0, 8, 0, 0),
    ),
    lines=(LineBacklog("192.0.2.1", "google", "google", 12, 3, "path:192.0.2.1/google"),),
    limits=(LimitStatus("set:news", "quota", "100/day", 97, NOW + 62_000),),
    restraints=(Restraint("192.0.2.1", "yahoo", "yahoo", "slow_down", "TSS04", "421", NOW),),
    suspensions=(Suspension("domain", "away.test", "asked to", "ops", NOW, None),),
    working_set=17,
    outbound_connections=4,
)


# Two looks


def test_what_went_between_two_looks_is_told_per_second():
    paces = {(pace.by, pace.name): pace for pace in compared(BEFORE, AFTER).paces}
    whole = paces["all", ""]
    assert (whole.accepted, whole.delivered, whole.deferred, whole.bounced) == (10, 8, 0, 0.5)
    assert paces["provider", "google"].delivered == 4


def test_a_relay_that_began_anew_counts_from_nothing():
    anew = replace(BEFORE, at=NOW + 2_000, flows=(Flow("all", "", 6, 4),))
    (pace,) = compared(AFTER, replace(anew, at=AFTER.at + 2_000)).paces
    assert (pace.accepted, pace.delivered) == (3, 2)


def test_the_headline_has_the_relay_in_one_line():
    line = headline(BEFORE, AFTER)
    assert "accepted 10.0/s  delivered 8.0/s  deferred 0.0/s  bounced 0.5/s" in line
    assert line.endswith("queued 40  held 2  suspended 0  in memory 17  connections 4")


def test_only_what_has_something_to_say_is_a_section():
    found = {title: rows for title, _, rows in sections(BEFORE, AFTER, 10)}
    assert list(found) == [
        "queue",
        "configuration set",
        "source",
        "provider",
        "waiting for",
        "limit",
        "held back",
        "suspended",
    ]
    assert found["source"] == [("192.0.2.1", "", "8.0", "0.0", "0.5")]
    assert found["provider"] == [("google", "4.0", "0.0")]
    assert found["queue"] == [("news", "40", "2", "0", "1m")]
    assert found["waiting for"] == [("google", "192.0.2.1", "12", "3", "path:192.0.2.1/google")]
    assert found["limit"] == [("set:news", "quota", "100/day", "97", "in 1m")]
    assert found["suspended"] == [("domain away.test", "when resumed", "asked to")]
    assert sections(BEFORE, replace(BEFORE, at=NOW + 1), 10) == []


def test_a_section_has_no_more_rows_than_there_is_room_for():
    lines = tuple(LineBacklog("192.0.2.1", f"mx{n}.test", "", 5, 1) for n in range(50))
    found = {title: rows for title, _, rows in sections(BEFORE, replace(AFTER, lines=lines), 4)}
    assert len(found["waiting for"]) == 4


# The command


@pytest.fixture
def looked_at(running):
    relay, _ = running
    relay.looks = [BEFORE, AFTER]


@pytest.mark.usefixtures("looked_at")
def test_once_prints_every_section_and_ends(run):
    ran = run("top", "--once", "--interval", "500ms")
    assert ran.code == 0
    assert ran.out.startswith(headline(BEFORE, AFTER))
    for word in ("configuration set", "google", "TSS04", "away.test", "set:news"):
        assert word in ran.out


@pytest.mark.usefixtures("looked_at")
def test_json_is_one_document_in_a_line(run):
    ran = run("top", "--once", "--json", "--interval", "500ms")
    assert ran.out.count("\n") == 1
    assert ran.json["seconds"] == 2.0
    assert ran.json["look"]["queue"][0]["queued"] == 40
    assert {"by", "name", "accepted", "delivered", "deferred", "bounced"} == set(
        ran.json["paces"][0]
    )


@pytest.mark.parametrize("interval", ["2", "100ms", "2h"])
def test_an_interval_that_makes_no_sense_is_refused(run, config_path, interval):
    ran = run("top", "--interval", interval)
    assert ran.code == 2
    assert "--interval" in ran.err


def test_where_no_relay_runs_that_is_told(run, config_path):
    assert run("top", "--once").code == 3


def start_on_a_terminal(config_path):
    """The command with a terminal of its own; its process, our end, and the other one."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "relay.cli.main", "top", "--interval", "500ms"],
        stdin=its,
        stdout=its,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "RELAY_CONFIG": str(config_path)},
        cwd=ROOT,
        start_new_session=True,
    )
    return process, ours, its


def read_until(terminal: int, wanted: bytes) -> bytes:
    seen, deadline = b"", time.monotonic() + 20
    while wanted not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 65536)
    return seen


@pytest.mark.usefixtures("looked_at")
@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "control-c"])
def test_on_a_terminal_it_renews_itself_until_a_key_ends_it(config_path, key):
    process, ours, its = start_on_a_terminal(config_path)
    before = termios.tcgetattr(its)
    try:
        assert b"google" in read_until(ours, b"google")
        if key == b"\x03":
            process.send_signal(2)
        else:
            os.write(ours, key)
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert termios.tcgetattr(its) == before
    finally:
        process.kill()
        os.close(ours)
        os.close(its)


@pytest.mark.usefixtures("looked_at")
def test_elsewhere_it_prints_a_line_each_time(config_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "relay.cli.main", "top", "--interval", "500ms", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "RELAY_CONFIG": str(config_path)},
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        documents = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert documents[0]["seconds"] == 2.0
    finally:
        process.kill()
        process.communicate()

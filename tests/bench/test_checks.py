"""What the benchmark believes of a system: arrivals, signatures, syncs, CPU."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.check import read_dumps
from bench.durable import syncs_in
from bench.guard import Ratio, verdict
from bench.measure import usage
from bench.results import Work

DUMP = (
    "X-Client-Addr: 127.0.0.2\nX-Client-Proto: ESMTP\nX-Mail-Args: <a@sender.test>\n"
    "{recipients}{signature}Message-ID: <{id}@load.test>\nSubject: x\n\nbody\n"
)


def dump(directory: Path, number: int, id: str, *recipients: str, signed: bool = True) -> None:
    text = DUMP.format(
        recipients="".join(f"X-Rcpt-Args: <{recipient}>\n" for recipient in recipients),
        signature="DKIM-Signature: v=1; b=none\n" if signed else "",
        id=id,
    )
    (directory / f"message.{number}").write_text(text)


def test_a_copy_that_came_twice_is_seen(tmp_path: Path) -> None:
    dump(tmp_path, 1, "one", "a@dest.test", "b@dest.test")
    dump(tmp_path, 2, "one", "b@dest.test")
    found = read_dumps(tmp_path, None, sample=10)
    assert (found.messages, found.copies, found.distinct) == (2, 3, 2)


def test_a_message_without_a_signature_is_seen_and_a_wrong_one_does_not_verify(
    tmp_path: Path,
) -> None:
    dump(tmp_path, 1, "one", "a@dest.test")
    dump(tmp_path, 2, "two", "a@dest.test", signed=False)
    found = read_dumps(tmp_path, ("s._domainkey.sender.test", "v=DKIM1; k=rsa; p="), sample=10)
    assert (found.signed, found.sample, found.verified) == (1, 2, 0)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"copies": 9}, "9 arrived"),
        ({"distinct": 9}, "9 distinct"),
        ({"signed": 9}, "1 of 10 are not signed"),
        ({"verified": 2}, "1 of 3 do not verify"),
        ({"synced": 7}, "1 of 8 not synced"),
        ({}, ""),
        ({"synced": -1, "traced": 0}, ""),
    ],
)
def test_work_that_was_not_done_is_named(changed: dict[str, int], problem: str) -> None:
    right = {
        "sent": 10, "copies": 10, "distinct": 10, "messages": 10, "signed": 10, "sample": 3,
        "verified": 3, "traced": 8, "synced": 8,
    }  # fmt: skip
    problems = Work(system="x", signs=True, **{**right, **changed}).problems()
    assert problem in "; ".join(problems)
    assert bool(problems) == bool(problem)


def test_syncs_are_read_whole_or_in_two_lines_and_failed_ones_are_not() -> None:
    trace = (
        "12 1000.100000 fsync(7</q/incoming/A1>) = 0 <0.002000>\n"
        "12 1000.200000 fdatasync(8</d/relay.db-wal> <unfinished ...>\n"
        "13 1000.201000 fsync(9</q/B>) = -1 EIO (Input/output error) <0.001000>\n"
        "12 1000.250000 <... fdatasync resumed>) = 0 <0.050000>\n"
    )
    first, second = syncs_in(trace)
    assert (first.name, first.path, first.began) == ("fsync", "/q/incoming/A1", 1000.1)
    assert first.ended == pytest.approx(1000.102)
    assert (second.name, second.began, second.ended) == ("fdatasync", 1000.2, 1000.25)


def test_cpu_of_children_counts_while_they_live_and_after() -> None:
    work = "x = 0\nfor n in range(3_000_000): x += n\n"
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', '''{work}print(1, flush=True)\n"
        "input()'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\nprint('busy', flush=True)\ninput()\n"
        "child.communicate(b'\\n')\nprint('ended', flush=True)\ninput()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        living = usage((process.pid,))
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        ended = usage((process.pid,))
        process.stdin.write(b"\n")
    assert living.processes == 2
    assert living.memory > 0
    assert ended.processes == 1
    assert ended.cpu >= living.cpu - 0.03  # a tick or two are lost when they are rounded
    assert living.cpu > 0.05


@pytest.mark.parametrize(("now", "fails"), [(2.2, False), (2.31, True), (1.0, False)])
def test_the_guard_fails_beyond_15_percent_more_and_says_so(now: float, fails: bool) -> None:
    lines, worse = verdict({"base": Ratio(2.0, 1.9, 2.1)}, {"base": Ratio(now, now, now)})
    assert worse is fails
    assert ("FAILED" in lines[0]) is fails

"""A full disk: mail is refused so that clients keep it, and nothing that was taken is lost."""

import os
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import Program, letter, wait_until
from tests.e2e.receiver import Later, Receiver
from tests.fault.test_kill import LARGE, queue_is_empty, spool_files

SIZE = 24_000_000


@pytest.fixture
def disk(program: Program) -> Iterator[Path]:
    """`data_dir` on a small file system of its own."""
    data = program.directory / "data"
    data.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    program.configure(lambda d: d.update(bounds={"minimum_free_disk": "0"}))
    yield data
    program.stop()
    subprocess.run(["umount", str(data)], check=True)


def fill(disk: Path) -> Path:
    """Take every octet that is left."""
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filling


def answer(client: smtplib.SMTP, name: str, body: str = "Hello.\r\n") -> int:
    """The reply to a message: of MAIL, or of the end of data."""
    try:
        client.sendmail("app@sender.test", ["to@dest.test"], letter(body=body, message_id=name))
    except smtplib.SMTPSenderRefused as refusal:
        return refusal.smtp_code
    except smtplib.SMTPDataError as refusal:
        return refusal.smtp_code
    return 250


@pytest.mark.parametrize("body", ["Hello.\r\n", LARGE * 10_000], ids=["small", "large"])
def test_on_a_full_disk_clients_hear_452_and_earlier_mail_goes_out(
    program: Program, disk: Path, receiver: Receiver, body: str
) -> None:
    program.configure(lambda d: d.update(retry={"schedule": ["1s"]}))
    receiver.behave = lambda stage, text: "451 not yet" if stage == "rcpt" else None
    program.start()
    taken = [f"<before{number}@client.test>" for number in range(6)]
    with program.client() as client:
        for name in taken:
            assert answer(client, name, body) == 250
        filling = fill(disk)
        refused = 0
        for number in range(200):
            name = f"<full{number}@client.test>"
            code = answer(client, name, body)
            if code == 250:  # there was a page left
                taken.append(name)
            else:
                assert code in (451, 452)
                refused += 1
            if refused == 10:
                break
        assert refused == 10
        files = len(spool_files(program))
        assert files == (len(taken) if len(body) > 100_000 else 0), "half a message was kept"
        wait_until(lambda: program.http("/readyz")[0] == 503, 15, "readiness to be withdrawn")
        assert program.http("/healthz")[0] == 200
        receiver.behave = lambda stage, text: None
        wait_until(lambda: set(taken) <= set(receiver.ids()), 30, "delivery on a full disk")

        filling.unlink()
        wait_until(lambda: answer(client, "<after@client.test>", body) == 250, 15, "recovery")
    wait_until(lambda: program.http("/readyz")[0] == 200, 15, "readiness")
    wait_until(lambda: "<after@client.test>" in receiver.ids(), what="delivery as ever")
    wait_until(lambda: queue_is_empty(program), 20, "an empty queue")
    assert spool_files(program) == []
    assert not any(name.startswith("<full") and name not in taken for name in receiver.ids())


def test_a_relay_that_dies_on_a_full_disk_starts_again_and_delivers(
    program: Program, disk: Path, receiver: Receiver
) -> None:
    receiver.behave = lambda stage, text: Later(600) if stage == "rcpt" else None
    program.start()
    for number in range(5):
        program.send(message_id=f"<{number}@client.test>")
    fill(disk)
    program.kill()
    receiver.behave = lambda stage, text: None
    program.start(until=(200, 503))
    wait_until(lambda: len(set(receiver.ids())) == 5, 20, "delivery")


def test_below_the_minimum_of_free_space_mail_is_refused_before_it_is_sent(
    program: Program, disk: Path, receiver: Receiver
) -> None:
    program.configure(lambda d: d.update(bounds={"minimum_free_disk": "10MB"}))
    program.start()
    filling = disk / "filling"
    with program.client() as client:
        assert answer(client, "<before@client.test>") == 250
        filling.write_bytes(os.urandom(SIZE - 8_000_000))
        wait_until(lambda: client.mail("app@sender.test")[0] == 452 or client.rset()[0] != 250, 10)
        client.rset()
        code, text = client.mail("app@sender.test")
        assert (code, text[:5]) == (452, b"4.3.1")
        wait_until(lambda: program.http("/readyz")[0] == 503, 15, "readiness to be withdrawn")
        filling.unlink()
        wait_until(lambda: answer(client, "<after@client.test>") == 250, 10, "recovery")
    wait_until(lambda: len(receiver.messages) >= 2, what="delivery")


def test_a_limit_on_file_size_is_heard_as_a_fault_and_takes_nothing_down(
    program: Program, receiver: Receiver
) -> None:
    # What an operating system refuses in the middle of a file (EFBIG here, as EIO elsewhere).
    program.start(wrapper=("prlimit", "--fsize=20000000"))
    with program.client() as client:
        assert answer(client, "<large@client.test>", LARGE * 400_000) in (451, 452)
        assert answer(client, "<small@client.test>") == 250
    assert spool_files(program) == []
    wait_until(lambda: receiver.ids() == ["<small@client.test>"], what="delivery")

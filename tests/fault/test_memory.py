"""Memory: many large messages at once pass through a relay that stays small."""

import hashlib
import random
import re
import threading
from pathlib import Path

import pytest

from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import Receiver
from tests.fault.test_kill import queue_is_empty, spool_files

CONNECTIONS = 20
OCTETS = 39_900_000
ALLOWED_MB = 300


def peak_mb(program: Program) -> float:
    """The most resident memory the process ever had."""
    assert program.process is not None
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000


def body_of(size: int) -> bytes:
    """Lines of text, some of which begin with dots."""
    chance = random.Random(1)
    block = b"".join(
        b"." * chance.choice((0, 0, 1, 2, 3)) + b"%064x\r\n" % chance.getrandbits(256)
        for _ in range(1_000)
    )
    return (block * (size // len(block) + 1))[: size - 2].rstrip(b"\r\n") + b"\r\n"


@pytest.mark.timeout(120)
def test_twenty_messages_of_forty_megabytes_at_once_take_less_than_300_mb(
    program: Program,
) -> None:
    receiver = Receiver(keep_bodies=False)
    program.configure(lambda d: d["routes"].update({"*": {"to": f"127.0.0.1:{receiver.port}"}}))
    body = body_of(OCTETS)
    expected = hashlib.sha256(body).hexdigest()
    wire = (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:]
    together = threading.Barrier(CONNECTIONS)
    replies: list[bytes] = []

    def send(number: int) -> None:
        with program.client() as client:
            client.mail("app@sender.test")
            client.rcpt(f"to{number}@dest.test")
            client.docmd("DATA")
            assert client.sock is not None
            head = f"From: app@sender.test\r\nMessage-ID: <{number}@client.test>\r\n\r\n"
            client.sock.sendall(head.encode())
            together.wait(60)
            view = memoryview(wire)
            for start in range(0, len(wire), 65_536):
                client.sock.sendall(view[start : start + 65_536])
            client.sock.sendall(b".\r\n")
            code, text = client.getreply()
            replies.append(b"%d %s" % (code, text))

    program.start()
    before = peak_mb(program)
    threads = [threading.Thread(target=send, args=(n,)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert [reply[:6] for reply in replies] == [b"250 Ok"] * CONNECTIONS
    wait_until(lambda: len(receiver.messages) == CONNECTIONS, 60, "delivery")
    peak = peak_mb(program)
    print(f"\nresident: {before:.0f} MB at the start, {peak:.0f} MB at most")
    assert {(m.body_size, m.body_sha256) for m in receiver.messages} == {(len(body), expected)}
    assert peak < ALLOWED_MB
    wait_until(lambda: queue_is_empty(program) and not spool_files(program), what="the end of it")
    receiver.close()

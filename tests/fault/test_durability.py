"""What the kernel sees: `250` leaves only after the message has been synced, with its directory.

A kill cannot show this, for the page cache outlives the process; only the order of system calls
can. So the real program runs under strace.
"""

import re
import shutil
import smtplib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.program import Program, letter, wait_until
from tests.e2e.receiver import Receiver

_CALLS = "write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync"
CLOSE_NOTIFY = '"\\27\\3\\3\\0\\23'  # a record of TLS 1.3 that is too short for any reply
_LINE = re.compile(r"(?P<pid>\d+) +(?P<resumed><\.\.\. )?(?P<name>\w+)(?: resumed>|\()(?P<rest>.*)")


def strace(output: Path) -> list[str]:
    """The words to put before a command. The process that they start is the command itself."""
    return [
        "strace", "-D", "-f", "-yy", "-qq", "-s", "4200",
        "-e", f"trace={_CALLS}", "-e", "signal=none", "-o", str(output),
    ]  # fmt: skip


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Where the trace goes; skips where nothing can be traced."""
    if shutil.which("strace") is None:
        pytest.skip("not installed: strace")
    traced = subprocess.run(
        ["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False
    )
    if traced.returncode:
        pytest.skip(f"strace may not trace here: {traced.stderr.strip()}")
    return tmp_path / "trace"


@dataclass(frozen=True)
class Call:
    """A system call that succeeded: what with, and between which lines of the trace."""

    name: str
    text: str
    began: int
    ended: int

    def is_sync_of(self, path: Path) -> bool:
        return self.name in ("fsync", "fdatasync") and f"<{path}>" in self.text

    def writes(self, words: str, path: str) -> bool:
        return self.name in ("write", "pwrite64") and path in self.text and words in self.text


def calls(trace: Path) -> list[Call]:
    """All calls in order of their beginning."""
    found: list[Call] = []
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(trace.read_text(errors="replace").splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        pid, rest = match["pid"], match["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = number, rest
            continue
        began, text = begun.pop(pid) if match["resumed"] else (number, "")
        if not re.search(r"= -1 E\w+ ", rest[-80:]):
            found.append(Call(match["name"], text + rest, began, number))
    return sorted(found, key=lambda call: call.began)


def send(program: Program, body: str) -> int:
    """Send one message, and say nothing after it; the client's port."""
    with program.client() as client:
        assert client.sock is not None
        port = client.sock.getsockname()[1]
        client.mail("app@sender.test")
        client.rcpt("to@dest.test")
        assert client.docmd("DATA")[0] == 354
        client.send(letter(body=body) + b".\r\n")
        assert client.getreply()[0] == 250
        smtplib.SMTP.close(client)
    return port


def traced_delivery(program: Program, receiver: Receiver, trace: Path, body: str) -> list[Call]:
    """The calls from the reply to DATA to the reply to the final dot; this is the last one."""
    receiver.pause()  # nobody may take the message away meanwhile
    program.start(wrapper=strace(trace))
    port = send(program, body)
    # Whoever is still there when the relay stops hears of it: that would be one reply more.
    wait_until(lambda: program.metric("relay_connections") == 0, what="the end of the session")
    assert program.terminate() == 0
    found = calls(trace)
    replies = [
        call
        for call in found
        if f"->127.0.0.1:{port}]" in call.text and CLOSE_NOTIFY not in call.text
    ]
    assert len(replies) > 6, "the replies to the client were not traced"
    go_ahead, accepted = replies[-2:]
    return [call for call in found if go_ahead.ended < call.began < accepted.began] + [accepted]


def synced_after(found: list[Call], written: Call, path: Path) -> Call:
    """The sync of `path` that began after `written` and ended before the reply began."""
    accepted = found[-1]
    syncs = [
        call
        for call in found
        if call.is_sync_of(path) and call.began > written.ended and call.ended < accepted.began
    ]
    assert syncs, f"250 was said before {path} was synced"
    return syncs[0]


@pytest.mark.parametrize("size", ["small", "spilled"])
def test_250_is_said_after_everything_was_synced(
    program: Program, receiver: Receiver, trace: Path, size: str
) -> None:
    body = "the marked body\r\n" + "x" * 78 + "\r\n"
    if size == "spilled":
        body += ("y" * 78 + "\r\n") * 4_000
    found = traced_delivery(program, receiver, trace, body)
    data = program.directory / "data"
    log = data / "relay.db-wal"
    row = next(call for call in found if call.writes("1@client.test", f"<{log}>"))
    synced_after(found, row, log)
    if size == "small":
        return
    first = next(call for call in found if call.writes("the marked body", f"<{data}/spool/"))
    name = re.search(r"<([^>]*)>", first.text)
    assert name is not None
    file = Path(name[1])
    blocks = [call for call in found if call.name == "write" and f"<{file}>" in call.text]
    of_file = synced_after(found, blocks[-1], file)
    of_directory = synced_after(found, of_file, file.parent)
    assert of_directory.ended < row.began, "a row named a file that could still vanish"
    assert any(call.is_sync_of(data / "spool") for call in found), "the new directory could vanish"

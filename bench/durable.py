"""That a message is synced before it is acknowledged, as the kernel saw it.

All processes of a system run under strace while one client sends a message at a time, with a pause
after each until it has left. Between the final dot and the reply a sync must have begun and ended.
Whether it is the right file is for the reader: the file is named. (What relay itself promises is
shown more strictly by its own tests.)
"""

import re
import shutil
import smtplib
import ssl
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.dialogue import Load, message
from bench.measure import tree
from bench.sink import Sink
from bench.systems.system import PASSWORD, SENDER, Ports, System

_LINE = re.compile(
    r"(?P<pid>\d+) +(?P<at>[\d.]+) (?:<\.\.\. (?P<resumed>\w+) resumed>|"
    r"(?P<name>\w+)\(\d+<(?P<path>[^>]*)>)(?P<rest>.*)"
)
_TOOK = re.compile(r"= 0 <([\d.]+)>$")


@dataclass(frozen=True, slots=True)
class Sync:
    """A sync that succeeded."""

    name: str
    path: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Synced:
    """Of `messages`, so many were synced before their reply, and how."""

    messages: int
    synced: int
    how: str


def reason_not_to() -> str:
    """Why nothing can be traced here; empty where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], check=False, capture_output=True)
    return "strace may not trace here" if tried.returncode else ""


def watch(system: System, sink: Sink, ports: Ports, directory: Path, messages: int) -> Synced:
    """Send `messages`, one at a time, and see what was synced in time."""
    output = directory / "syncs"
    with _client(system, ports) as client:
        _send(client, 0)
        sink.wait_for(sink.count + 1, since=0, seconds=30)
        pids = sorted(tree(system.roots()))
        tracer = _trace(pids, output)
        try:
            waits = []
            for number in range(1, messages + 1):
                waits.append(_send(client, number))
                sink.wait_for(sink.count + 1, since=0, seconds=30)
                time.sleep(0.1)
        finally:
            tracer.terminate()
            tracer.wait()
    syncs = syncs_in(output.read_text(errors="replace"))
    inside = [
        [sync for sync in syncs if dot <= sync.began and sync.ended <= reply]
        for dot, reply in waits
    ]
    names = Counter(_said(sync, directory) for found in inside for sync in found)
    how = ", ".join(name for name, count in names.most_common(3) if count >= messages // 2)
    return Synced(messages, sum(map(bool, inside)), how)


def syncs_in(trace: str) -> list[Sync]:
    """The syncs in the output of `strace -f -y -ttt -T`."""
    found = []
    begun: dict[str, tuple[str, str, float]] = {}
    for line in trace.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        at, took = float(match["at"]), _TOOK.search(match["rest"])
        if match["rest"].endswith("<unfinished ...>"):
            begun[match["pid"]] = (match["name"], match["path"], at)
        elif match["resumed"] and match["pid"] in begun:
            name, path, began = begun.pop(match["pid"])
            if took:
                found.append(Sync(name, path, began, at))
        elif took and match["name"]:
            found.append(Sync(match["name"], match["path"], at, at + float(took[1])))
    return found


def _said(sync: Sync, directory: Path) -> str:
    """The call and the file, with what differs from message to message taken out of its name."""
    path = sync.path.removeprefix(f"{directory}/")
    folder, _, name = path.rpartition("/")
    plain = name if re.fullmatch(r"[a-z]+([.-][a-z]+)*", name) else "…"
    return f"{sync.name} {folder}/{plain}"


def _trace(pids: list[int], output: Path) -> "subprocess.Popen[bytes]":
    words = ["strace", "-f", "-y", "-ttt", "-T", "-qq", "-e", "trace=fsync,fdatasync"]
    words += ["-e", "signal=none", "-o", str(output)]
    for pid in pids:
        words += ["-p", str(pid)]
    tracer = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not all(map(_is_traced, pids)):
        time.sleep(0.05)
    return tracer


def _is_traced(pid: int) -> bool:
    try:
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def _client(system: System, ports: Ports) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", ports.submission, timeout=60)
    client._host = "localhost"  # type: ignore[attr-defined]  # the name in the certificate
    client.starttls(context=ssl.create_default_context(cafile=system.authority()))
    client.login(system.user, PASSWORD)
    return client


def _send(client: smtplib.SMTP, number: int) -> tuple[float, float]:
    """Send a message; when it began to go, and when the reply came."""
    load = Load("", 0, "", "", "", 1, 1, 1, 4096, 1, False, SENDER, "dest.test")
    client.mail(SENDER)
    client.rcpt("r0@dest.test")
    client.putcmd("data")
    if client.getreply()[0] != 354:
        raise SystemExit("DATA was refused")
    sent = time.time()
    client.send(message(load, number))
    if client.getreply()[0] != 250:
        raise SystemExit("a message was refused")
    return sent, time.time()

"""Where relay's CPU goes under the base load, as text: `python -m bench.profile NAME`.

Samples every process of relay with py-spy (an extra: `pip install -e '.[bench]'`); then counts
system calls with strace, in a run of its own, where strace is installed. Writes
bench/profiles/NAME.txt.

py-spy samples by the clock and takes some waiting threads for busy ones. So samples whose innermost
line waits for a queue or a lock are dropped, and the rest of each thread is scaled to the CPU time
that the kernel charged to it: the sum is CPU time. A sample belongs to the room (`relay.store`,
`relay.frontend`, …) of its innermost frame of relay's own code, so that what a library does is
charged to the room that called it; `outside` is the event loop with what it does by itself (TLS,
sockets), and threads that run nothing of relay.
"""

import argparse
import linecache
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cases import BASE, ROWS, Case
from bench.measure import tree
from bench.run import PORTS, Run, progress, run
from bench.sink import Sink
from bench.systems.relay import Relay

_FOLDER = Path(__file__).parent / "profiles"
_RATE = 200
_TOP = 40
_THREAD = re.compile(r"thread \((\d+)\)(?:: (.*))?")
_FRAME = re.compile(r"(.*) \((.*):(\d+)\)")
_WAITING = re.compile(r"\.(get|wait|acquire|join|select)\(")
_OURS = re.compile(r"relay/\w+/[\w/]+\.py$")
_LOOP = "Runner.run "
_ROOM = re.compile(r"\brelay/(\w+)")
_WARM_UP = replace(BASE, messages=300)


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that was seen in one thread, outermost frame first, and the CPU seconds it stands
    for."""

    thread: str
    frames: tuple[str, ...]
    seconds: float

    def room(self) -> str:
        """The room of its innermost frame of relay's own code, inside the event loop's frame."""
        for frame in reversed(self.frames):
            if frame.startswith(_LOOP):
                break
            if found := _ROOM.search(frame):
                return f"relay.{found[1]}"
        return "outside"


def stacks(raw: str, process: str, cpu: Mapping[int, float]) -> list[Stack]:
    """Read py-spy's raw format (frames with `;` between, then the count).

    `cpu` has the CPU seconds of each thread id. A thread that was only seen waiting is one stack.
    """
    names: dict[int, str] = {}
    samples: dict[int, list[tuple[tuple[str, ...], int]]] = {}
    for line in raw.splitlines():
        text, _, count = line.rpartition(" ")
        thread, *frames = text.split(";")
        if (found := _THREAD.fullmatch(thread)) and frames:
            names[int(found[1])] = f"{process}: {found[2] or 'unnamed thread'}"
            if not _waits(frames[-1]):
                short = tuple(map(_function, frames))
                samples.setdefault(int(found[1]), []).append((short, int(count)))
    result = []
    for thread_id, seconds in cpu.items():
        name = names.get(thread_id, f"{process}: threads that are not Python's")
        seen = samples.get(thread_id, [(("waiting, and waking up",), 1)])
        total = sum(count for _, count in seen)
        result += [Stack(name, frames, seconds * count / total) for frames, count in seen]
    return result


def _waits(frame: str) -> bool:
    """Whether the line of a frame, `function (path:line)`, waits for another thread."""
    found = _FRAME.fullmatch(frame)
    return found is not None and bool(_WAITING.search(linecache.getline(found[2], int(found[3]))))


def _function(frame: str) -> str:
    """A frame without its line, with the end of its path."""
    found = _FRAME.fullmatch(frame)
    if found is None:
        return frame
    inside = _OURS.search(found[2])
    return f"{found[1]} ({inside[0] if inside else '/'.join(found[2].split('/')[-2:])})"


def shares(seen: list[Stack], messages: int) -> list[str]:
    """Rooms, threads and functions, as lines of text."""
    lines = ["", "CPU µs a message, and its share"]
    for title, names in (
        ("by room", lambda stack: [stack.room()]),
        ("by thread", lambda stack: [stack.thread]),
        ("functions, exclusive", lambda stack: stack.frames[-1:]),
        ("functions, inclusive", lambda stack: set(stack.frames)),
    ):
        lines += _table(title, seen, names, messages)
    return lines


def _table(
    title: str, seen: list[Stack], names: Callable[[Stack], Iterable[str]], messages: int
) -> list[str]:
    counter: Counter[str] = Counter()
    for stack in seen:
        for name in names(stack):
            counter[name] += stack.seconds  # type: ignore[assignment]  # a Counter of seconds
    total = sum(stack.seconds for stack in seen) or 1.0
    rows = [
        f"{seconds / messages * 1e6:8.1f}  {seconds / total:6.1%}  {name}"
        for name, seconds in counter.most_common(_TOP)
    ]
    return ["", title, "-" * len(title), *rows]


def profile(case: Case, spy: str | None) -> list[str]:
    """All parts that this machine has the tools for."""
    relay = Relay()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        relay.start(directory / "system", PORTS)
        sink = Sink(PORTS.sink)
        try:
            run(relay, sink, _WARM_UP)
            lines = [f"{relay.version()}", f"load: {case}, {case.messages} messages", ""]
            lines.append(_said("without a profiler", run(relay, sink, case)))
            if spy:
                lines += _spied(relay, sink, case, spy, directory)
            if shutil.which("strace"):
                lines += _calls(relay, sink, replace(case, messages=case.messages // 4), directory)
            return lines
        finally:
            relay.stop()
            sink.stop()


def _spied(relay: Relay, sink: Sink, case: Case, spy: str, directory: Path) -> list[str]:
    """The samples of every process while the load runs."""
    progress("sampling")
    spies = {}
    for pid in tree(relay.roots()):
        words = [
            spy,
            "record",
            "--full-filenames",
            "-p",
            str(pid),
            "-f",
            "raw",
            "-t",
            "-r",
            str(_RATE),
        ]
        spies[pid] = subprocess.Popen(
            [*words, "-o", str(directory / f"spy.{pid}")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    time.sleep(1.0)  # py-spy says nothing when it has begun
    before = {pid: _threads(pid) for pid in spies}
    done = run(relay, sink, case)
    after = {pid: _threads(pid) for pid in spies}
    for process in spies.values():
        process.send_signal(signal.SIGINT)
    for process in spies.values():
        process.wait(timeout=60)
    seen: list[Stack] = []
    for number, pid in enumerate(spies):
        output = directory / f"spy.{pid}"
        kind = "supervisor or only process" if number == 0 else f"worker {number}"
        raw = output.read_text() if output.exists() else ""
        cpu = {tid: used - before[pid].get(tid, 0.0) for tid, used in after[pid].items()}
        seen += stacks(raw, kind, {tid: used for tid, used in cpu.items() if used > 0})
    return [_said("while sampled", done), *shares(seen, case.messages)]


def _threads(pid: int) -> dict[int, float]:
    """CPU seconds of each thread so far."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _calls(relay: Relay, sink: Sink, case: Case, directory: Path) -> list[str]:
    """System calls, counted."""
    progress("counting system calls")
    output = directory / "calls"
    words = ["strace", "-f", "-c", "-qq", "-o", str(output)]
    for pid in tree(relay.roots()):
        words += ["-p", str(pid)]
    tracer = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    done = run(relay, sink, case)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(timeout=60)
    text = output.read_text() if output.exists() else ""
    title = f"system calls of {case.messages} messages (strace -c; its times are not relay's)"
    return ["", title, "-" * len(title), *text.splitlines()[:30], _said("while traced", done)]


def _said(when: str, done: Run) -> str:
    return (
        f"{when}: {done.rate:.0f} messages/s, {done.cpu_per_1000:.2f} CPU-s per 1,000 messages, "
        f"{done.processes} processes"
    )


def _spy() -> str | None:
    beside = Path(sys.executable).parent / "py-spy"
    return str(beside) if beside.exists() else shutil.which("py-spy")


def main() -> None:
    parser = argparse.ArgumentParser(description="Where relay's CPU goes, as text.")
    parser.add_argument("name", help="of the file in bench/profiles")
    parser.add_argument("--row", default="base", choices=list(ROWS))
    parser.add_argument("--messages", type=int, default=6000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    options = parser.parse_args()
    if (spy := _spy()) is None:
        progress("py-spy is not installed, so nothing is sampled: pip install -e '.[bench]'")
    messages = options.messages // 10 if options.quick else options.messages
    lines = profile(replace(ROWS[options.row], messages=messages), spy)
    _FOLDER.mkdir(exist_ok=True)
    path = _FOLDER / f"{options.name}.txt"
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()

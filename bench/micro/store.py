"""What the store costs per message: `python -m bench.micro.store`.

Each process inserts messages of 4 KB, claimed, for some clients at a time, and settles them beside
that, as a worker does; the loop also spends a while per message on work of its own, as it does
there, so that the threads contend for the interpreter. Printed is the CPU of all processes per
message (user and kernel), less that work. Every commit is synced, as always: the data directory
must be on a real disk for the figures to mean anything.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from relay.mail.envelope import Envelope, Recipient
from relay.observe.logging import make_logger
from relay.store.attempted import Attempted, Way
from relay.store.sqlite import SqliteStore
from relay.store.values import (
    Attempt,
    AttemptResult,
    Body,
    Delivery,
    DialogueLine,
    Message,
    NewMessage,
    Owner,
    Settlement,
)

WARM_UP = 500
HEADER = b"".join(b"X-Field-%d: some forty octets of a header field\r\n" % n for n in range(12))


@dataclass(frozen=True, slots=True)
class Load:
    messages: int
    producers: int
    size: int
    work_us: int
    dialogues: bool = False


def spin(turns: int) -> None:
    """Hold the interpreter, as parsing and signing do."""
    for _ in range(turns):
        pass


def turns_per_microsecond() -> float:
    """How many turns of `spin` take a microsecond of CPU here and now."""
    turns = 1_000_000
    spin(turns)
    started = time.process_time()
    spin(turns)
    return turns / (time.process_time() - started) / 1e6


def make_new(process: int, number: int, content: bytes) -> NewMessage:
    now = time.time_ns() // 1_000_000
    name = f"0100{now:012x}-{process:08x}-0000-4000-8000-{number:012x}-000000"
    envelope = Envelope("app@sender.test", (Recipient(f"user{number}@destination.test"),))
    body = Body(len(content), b"s" * 32, b"r" * 32, inline=content)
    message = Message(
        name, now, now + 50_400_000, envelope, "app", "main", "sender.test", HEADER, body
    )  # fmt: skip
    return NewMessage(message, now, ("bounce", "complaint"))


def make_attempt(delivery: Delivery) -> Attempt:
    """As long as that of a usual delivery."""
    recipient = delivery.recipients[0].address
    replies = ("250 2.1.0 Ok", "250 2.1.5 Ok", "354 End data with <CR><LF>.<CR><LF>")
    lines = (
        DialogueLine(0, "us", f"MAIL FROM:<{delivery.message.envelope.reverse_path}> SIZE=4711"),
        DialogueLine(0, "us", f"RCPT TO:<{recipient}>"),
        DialogueLine(0, "us", "DATA"),
        *(DialogueLine(2, "peer", reply) for reply in replies),
        DialogueLine(3, "note", "4711 octets of content and the dot"),
        DialogueLine(9, "peer", "250 2.0.0 Ok: queued as 4bQx1Y2Z3Wz9rY"),
    )
    result = AttemptResult("delivered", "delivered", lines[-1].text, 1, (recipient,))
    return Attempt(
        delivery.message.id,
        delivery.id,
        delivery.domain,
        delivery.due_at,
        1,
        0.009,
        "main",
        "192.0.2.1",
        "mx1.destination.test[192.0.2.25]:25",
        "TLSv1.3",
        (result,),
        lines,
    )


def make_happened(delivery: Delivery) -> Attempted:
    """A usual delivery, as it is told of."""
    way = Way("main", "192.0.2.1", "other", "mx1.destination.test", "192.0.2.25", "TLSv1.3")
    return Attempted(
        delivery.due_at,
        1,
        (delivery.recipients[0].address,),
        "250 2.0.0 Ok: queued as 4bQx1Y2Z3Wz9rY",
        seconds=0.009,
        way=way,
        expires_at=delivery.message.expires_at,
    )


async def produce(
    store: SqliteStore,
    owner: Owner,
    news: Sequence[NewMessage],
    producers: int,
    turns: int,
    dialogues: bool,
) -> None:
    coming = iter(news)
    accepted: asyncio.Queue[Delivery | None] = asyncio.Queue()

    async def accept() -> None:
        for new in coming:
            spin(turns)
            accepted.put_nowait((await store.insert(new, owner)).deliveries[0])

    async def deliver() -> None:
        while (delivery := await accepted.get()) is not None:
            spin(turns)
            settlement = Settlement(
                delivery,
                attempt=make_attempt(delivery) if dialogues else None,
                happened=make_happened(delivery),
            )
            if not await store.settle(owner, settlement):
                raise RuntimeError("the claim was lost")

    delivering = [asyncio.create_task(deliver()) for _ in range(2 * producers)]
    await asyncio.gather(*(accept() for _ in range(producers)))
    for _ in delivering:
        accepted.put_nowait(None)
    await asyncio.gather(*delivering)


async def run_process(directory: Path, process: int, joining: bool, load: Load) -> None:
    commits: list[float] = []
    store = SqliteStore(
        directory,
        on_commit=lambda seconds, operations: commits.append(seconds),
        log=make_logger(level="error"),
    )
    await (store.open(joining=True) if joining else store.open())
    owner = await store.register(f"worker-{process}", 60_000)
    content = b"x" * load.size
    news = [make_new(process, number, content) for number in range(WARM_UP + load.messages)]
    await produce(store, owner, news[:WARM_UP], load.producers, 0, load.dialogues)
    turns = round(load.work_us * turns_per_microsecond() / 2)
    gc.freeze()
    commits.clear()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    cpu, wall = time.process_time(), time.perf_counter()
    await produce(store, owner, news[WARM_UP:], load.producers, turns, load.dialogues)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    said = {"cpu": cpu, "wall": wall, "commits": len(commits), "committing": sum(commits)}
    print(json.dumps(said), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await store.close()


def measure(place: Path | None, processes: int, load: Load) -> dict[str, float]:
    """CPU per message (us), operations per commit, duration of one (ms), messages per second."""
    with tempfile.TemporaryDirectory(prefix="store-", dir=place) as directory:
        keeper = asyncio.Runner()
        store = SqliteStore(Path(directory), log=make_logger(level="error"))
        if processes > 1:
            keeper.run(store.open())
        running = [_start(directory, number, processes > 1, load) for number in range(processes)]
        for process in running:
            assert process.stdout.readline() == "ready\n"
        for process in running:
            process.stdin.write("go\n")
            process.stdin.flush()
        found = [json.loads(process.stdout.readline()) for process in running]
        for process in running:
            process.communicate("end\n")
        keeper.run(store.close())
        keeper.close()
    messages = load.messages * processes
    commits = sum(one["commits"] for one in found)
    return {
        "cpu": sum(one["cpu"] for one in found) * 1e6 / messages - load.work_us,
        "batch": 2 * messages / commits,
        "commit": sum(one["committing"] for one in found) * 1e3 / commits,
        "rate": messages / max(one["wall"] for one in found),
    }


def _start(directory: str, number: int, joining: bool, load: Load) -> Any:
    settings = json.dumps([load.messages, load.producers, load.size, load.work_us, load.dialogues])
    command = [sys.executable, "-m", "bench.micro.store", "--process", str(number)]
    command += ["--place", directory, "--load", settings] + ["--joining"] * joining
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4_000, help="per process and run")
    parser.add_argument("--producers", type=int, default=10, help="per process")
    parser.add_argument("--size", type=int, default=4_096, help="octets of a body")
    parser.add_argument("--work", type=int, default=200, help="us of other work per message")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dialogues", action="store_true", help="keep one of each delivery")
    parser.add_argument("--processes", default="1,2", help="how many at a time, one case each")
    parser.add_argument("--place", type=Path, help="directory for the data (a real disk)")
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--joining", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--load", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.process is not None:
        uvloop.run(run_process(given.place, given.process, given.joining, Load(*given.load)))
        return
    load = Load(given.messages, given.producers, given.size, given.work, given.dialogues)
    print("processes   CPU us/message (each run)    operations/commit   ms/commit   messages/s")
    for processes in map(int, given.processes.split(",")):
        runs = [measure(given.place, processes, load) for _ in range(given.runs)]
        each = " ".join(f"{run['cpu']:.0f}" for run in runs)
        middle = {name: median(run[name] for run in runs) for name in runs[0]}
        print(
            f"{processes:9}   {middle['cpu']:6.0f}  ({each})".ljust(41)
            + f"{middle['batch']:17.1f}   {middle['commit']:9.2f}   {middle['rate']:10.0f}"
        )


if __name__ == "__main__":
    main()

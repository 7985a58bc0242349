"""What it costs to tell a destination: `python -m bench.micro.telling`.

Events of messages of the usual kind are told by webhook over TLS, to a server on loopback that runs
in a process of its own, and to a file. The log is in memory; it is read, matched, rendered and told
as the scribe does it. Printed are microseconds of CPU of one event, and events in a second.
"""

import argparse
import asyncio
import multiprocessing
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import trustme

from bench.micro.events import case
from relay.config.events import EventDestination, EventFile, Webhook
from relay.events.destinations.making import make_destination
from relay.events.making import events_of, logged_message
from relay.events.matching import Matching
from relay.events.reader import EventReader
from relay.events.teller import Teller
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime.loops import new_loop
from relay.store.log_values import LoggedEvent, LoggedMessage, TellingCursor

HOSTNAME = "relay.test"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Log:
    """What a teller asks of a log, in memory."""

    def __init__(self, messages: int) -> None:
        self.events: list[LoggedEvent] = []
        self.known: dict[str, LoggedMessage] = {}
        for number in range(messages):
            accepted, settled = case(number)
            message = logged_message(accepted, HOSTNAME)
            self.known[message.id] = message
            for entry in (accepted, settled):
                for event in events_of(entry, message, HOSTNAME):
                    self.events.append(_numbered(event, len(self.events) + 1))

    async def events_after(self, number: int, limit: int) -> list[LoggedEvent]:
        return self.events[number : number + limit]

    async def messages(self, ids: Sequence[str]) -> dict[str, LoggedMessage]:
        return {id_: self.known[id_] for id_ in ids}


def _numbered(event: LoggedEvent, number: int) -> LoggedEvent:
    return LoggedEvent(
        event.id, event.type, event.message_id, event.at, event.recipients, event.facts, number
    )


async def _take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            writer.write(_ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _server(certificate: Path, port: "multiprocessing.Queue[int]") -> None:
    async def serve() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server = await asyncio.start_server(_take, "127.0.0.1", 0, ssl=context)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve())


async def measure(config: EventDestination, log: Log) -> tuple[float, float]:
    """Microseconds of CPU, and events in a second."""
    metrics = Metrics()
    teller = Teller(
        "bench",
        config,
        Matching(frozenset({"Send", "Delivery"}), frozenset({"main"})),
        TellingCursor("bench", 0),
        make=lambda: make_destination(
            "bench", config, metrics.sending_events, lambda: time.time_ns() // 1_000_000
        ),
        reader=EventReader(log, HOSTNAME),  # type: ignore[arg-type]  # as much as it asks for
        log=log,  # type: ignore[arg-type]  # likewise
        metrics=metrics,
        logger=make_logger("console", "error"),
        clock=lambda: time.time_ns() // 1_000_000,
        rng=Random(1),
    )
    cpu, began = time.process_time(), time.perf_counter()
    task = asyncio.create_task(teller.run())
    while teller.upto < len(log.events):
        await asyncio.sleep(0.02)
    cpu, took = time.process_time() - cpu, time.perf_counter() - began
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return cpu / len(log.events) * 1e6, len(log.events) / took


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.micro.telling", description=__doc__)
    parser.add_argument("--messages", type=int, default=3_000, help="two events each")
    log = Log(parser.parse_args().messages)
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as directory:
        ca, leaf = Path(directory, "ca.pem"), Path(directory, "leaf.pem")
        authority.cert_pem.write_to_path(str(ca))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(leaf))
        port: multiprocessing.Queue[int] = multiprocessing.Queue()
        server = multiprocessing.Process(target=_server, args=(leaf, port), daemon=True)
        server.start()
        hook = Webhook(
            type="webhook",
            url=f"https://localhost:{port.get()}/",
            allow=("localhost",),
            secrets=("a secret of the bench",),
            ca=ca,
        )
        file = EventFile(type="file", path=Path(directory, "events.jsonl"))
        with asyncio.Runner(loop_factory=new_loop) as runner:
            for name, config in (("webhook", hook), ("file", file)):
                cpu, rate = runner.run(measure(config, log))
                print(f"{name:8} {cpu:6.0f} us of CPU for an event, {rate:7.0f} events/s")
        server.terminate()
        server.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())

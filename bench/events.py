"""What event destinations cost the mail: `python -m bench.events`, into EVENTS.md.

The same load again and again, in turns: without a destination, with a file, with a webhook that
takes everything, with one that refuses every connection, and with one that takes connections and
never answers. In the end the webhook that refused is let in: all that happened has to arrive.
"""

import argparse
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from bench.cases import BASE
from bench.machine import this_machine
from bench.run import PORTS, Run, progress, run
from bench.sink import Sink
from bench.systems.relay import Relay

_CASE = replace(BASE, messages=2000)
_WARM_UP = replace(BASE, messages=300)
_PATIENCE_S = 300.0
KINDS = {
    "none": "no destination",
    "file": "a file",
    "webhook": "a webhook that takes all",
    "refused": "a webhook that refuses connections",
    "silent": "a webhook that never answers",
}


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the rounds: messages a second, CPU seconds for 1,000 messages, milliseconds from
    a client's first command to the sink."""

    kind: str
    rate: float
    cpu: float
    p50: float
    p99: float


class Webhook:
    """Counts the events that it takes, each once."""

    def __init__(self, port: int = 0) -> None:
        self.taken: set[str] = set()
        taken = self.taken

        class Take(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.add(json.loads(body)["eventId"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *words: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Take)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def _place(kind: str) -> Iterator[int]:
    """The port of a webhook of that kind."""
    if kind == "webhook":
        webhook = Webhook()
        yield webhook.port
        webhook.close()
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "silent":
            listener.listen(1_000)
        yield listener.getsockname()[1]


def _changes(kind: str, port: int) -> dict[str, Any]:
    """The destination, for all mail."""
    destinations: dict[str, Any] = {
        "none": {},
        "file": {"type": "file", "path": "events.jsonl"},
    }
    webhook = {
        "type": "webhook",
        "url": f"http://127.0.0.1:{port}/",
        "allow": ["127.0.0.1"],
        "timeout": "2s",
    }
    chosen = destinations.get(kind, webhook)
    if not chosen:
        return {}
    return {
        "events": {"told": chosen},
        "configuration_sets": {"default": {"pool": "default", "events": ["told"]}},
    }


def measure(kind: str, directory: Path, sink: Sink) -> Run:
    """One run of the load."""
    with _place(kind) as port:
        relay = Relay(workers=2, changes=_changes(kind, port))
        relay.start(directory, PORTS)
        try:
            run(relay, sink, _WARM_UP)
            return run(relay, sink, _CASE)
        finally:
            relay.stop()


def measure_catching_up(directory: Path, sink: Sink) -> tuple[int, float]:
    """A webhook refuses connections during the load and takes them then: how many events arrived,
    each counted once, and after how many seconds all had."""
    with _place("refused") as port:
        relay = Relay(workers=2, changes=_changes("refused", port))
        relay.start(directory, PORTS)
        run(relay, sink, _CASE)
    try:
        webhook = Webhook(port)
        began = time.monotonic()
        wanted = 2 * _CASE.messages  # a Send and a Delivery of each
        while len(webhook.taken) < wanted:
            if time.monotonic() - began > _PATIENCE_S:
                raise SystemExit(f"{len(webhook.taken)} of {wanted} events arrived")
            time.sleep(0.1)
        seconds = time.monotonic() - began
        webhook.close()
        return len(webhook.taken), seconds
    finally:
        relay.stop()


def _row(kind: str, runs: list[Run]) -> Row:
    return Row(
        kind,
        median(r.rate for r in runs),
        median(r.cpu_per_1000 for r in runs),
        median(r.p50 for r in runs),
        median(r.p99 for r in runs),
    )


def page(rows: list[Row], rounds: int, caught_up: tuple[int, float]) -> str:
    """EVENTS.md."""
    base = rows[0]
    lines = [
        "# What event destinations cost the mail",
        "",
        f"`python -m bench.events` on {this_machine()}. {_CASE.messages:,} messages of 4 KB over"
        f" {_CASE.connections} connections, two events each; medians of {rounds} rounds in turns.",
        "CPU is that of all processes of the relay, the scribe with them.",
        "",
        "| destination | messages/s | of none | CPU-s per 1,000 | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|",
        *(
            f"| {KINDS[row.kind]} | {row.rate:,.0f} | {row.rate / base.rate:.0%} | {row.cpu:.2f}"
            f" | {row.p50:.0f} | {row.p99:.0f} |"
            for row in rows
        ),
        "",
        f"The webhook that refused connections during the whole load was let in after it: all"
        f" {caught_up[0]:,} events had arrived {caught_up[1]:.0f} s later, each once counted.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.events", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    runs: dict[str, list[Run]] = {kind: [] for kind in KINDS}
    sink = Sink(PORTS.sink)
    try:
        for number in range(options.rounds):
            for kind, found in runs.items():
                with tempfile.TemporaryDirectory(prefix="bench-") as name:
                    Path(name).chmod(0o755)
                    found.append(measure(kind, Path(name) / "system", sink))
                progress(f"round {number + 1}, {KINDS[kind]}: {found[-1].rate:.0f} messages/s")
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            Path(name).chmod(0o755)
            caught_up = measure_catching_up(Path(name) / "system", sink)
    finally:
        sink.stop()
    text = page([_row(kind, found) for kind, found in runs.items()], options.rounds, caught_up)
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()

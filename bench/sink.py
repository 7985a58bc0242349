"""Where mail ends: Postfix's smtp-sink, written in C, so that the sink is not what is measured.

Its counter of messages is printed once a second. When the last one came is read more finely from
the octets that the process has read so far (/proc/PID/io).
"""

import os
import re
import selectors
import subprocess
import time
from pathlib import Path

from bench.measure import usage

_COUNTER = re.compile(rb"mesg=(\d+)")
_POLL_S = 0.01
_LEAST_OCTETS = 1_000  # of a message; an idle connection's end is less


class Sink:
    """A running smtp-sink that counts messages; with `dump`, it keeps them as files."""

    def __init__(self, port: int, dump: Path | None = None) -> None:
        command = ["smtp-sink", "-u", "nobody", "-c"]
        if dump is not None:
            command += ["-d", f"{dump}/message."]
        self._process = subprocess.Popen(
            [*command, f"127.0.0.1:{port}", "1024"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self.count = 0

    def wait_for(self, count: int, *, since: float, seconds: float) -> float | None:
        """Wait until `count` messages have arrived: the time.time() at which the last one did.

        That is `since`, when the client had sent all, where nothing came after it. None when they
        did not arrive within `seconds`.
        """
        deadline = time.monotonic() + seconds
        read, last, tail = self._octets_read(), since, b""
        while self.count < count and time.monotonic() < deadline:
            self._selector.select(timeout=_POLL_S)
            octets = self._octets_read()
            if octets - read >= _LEAST_OCTETS:
                read, last = octets, time.time()
            assert self._process.stdout is not None
            data = self._process.stdout.read(65536) or b""
            if counters := _COUNTER.findall(tail + data):
                self.count = int(counters[-1])
            tail = (tail + data)[-64:]
        return last if self.count >= count else None

    def cpu(self) -> float:
        """CPU seconds that it has used so far."""
        return usage((self._process.pid,), memory=False).cpu

    def _octets_read(self) -> int:
        text = Path(f"/proc/{self._process.pid}/io").read_text()
        return int(text.partition("rchar: ")[2].split()[0])

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._selector.close()

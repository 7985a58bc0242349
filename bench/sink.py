"""Where mail ends: Postfix's smtp-sink, written in C, so that the sink is not what is measured."""

import os
import re
import selectors
import subprocess
import time
from pathlib import Path

_COUNTER = re.compile(rb"mesg=(\d+)")


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

    def wait_for(self, count: int, seconds: float) -> bool:
        """Wait until `count` messages arrived; False when they did not within `seconds`."""
        deadline = time.monotonic() + seconds
        tail = b""
        while self.count < count and time.monotonic() < deadline:
            self._selector.select(timeout=0.2)
            assert self._process.stdout is not None
            data = self._process.stdout.read(65536) or b""
            if counters := _COUNTER.findall(tail + data):
                self.count = int(counters[-1])
            tail = (tail + data)[-64:]
        return self.count >= count

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._selector.close()

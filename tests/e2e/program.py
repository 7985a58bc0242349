"""The real program for end-to-end tests: set up by `relay init`, started by `relay serve`."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

RELAY = (sys.executable, "-m", "relay.cli.main")
PASSWORD = "an end-to-end password that is long enough"
_READY_WITHIN = 30.0


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition, seconds: float = 30.0, what: str = "the condition") -> None:
    """Poll until `condition()` is true: what a process does can only be seen from outside."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not hold within {seconds} s")
        time.sleep(0.02)


def descendants(process: int) -> list[int]:
    """All processes below `process`, nearest first."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return [*found, *(below for child in found for below in descendants(child))]


class Program:
    """One relay: its directory, its configuration and, while it runs, its process."""

    def __init__(self, directory: Path, sink_port: int, sources: Sequence[str] = ("127.0.0.2",)):
        self.directory = directory
        self.port = free_port()
        self.metrics_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        password = directory.with_name("password")
        password.write_text(PASSWORD)
        password.chmod(0o600)
        self.run(
            "init", str(directory), "--yes",
            "--hostname", "relay.test",
            "--listen", f"127.0.0.1:{self.port}",
            "--identity", "sender.test",
            *(word for source in sources for word in ("--source", source)),
            "--route", f"*=127.0.0.1:{sink_port}",
            "--credential", "app",
            "--password-file", str(password),
            "--metrics", f"127.0.0.1:{self.metrics_port}",
            config=False,
        )  # fmt: skip

    def twin(self, directory: Path, change) -> "Program":
        """Another relay with the same keys and passwords, on ports and with data of its own."""
        shutil.copytree(self.directory, directory, ignore=shutil.ignore_patterns("data"))
        twin = Program.__new__(Program)
        twin.directory, twin.process = directory, None
        twin.port, twin.metrics_port = free_port(), free_port()

        def apart(document) -> None:
            (listener,) = document["listeners"].values()
            listener["address"] = f"127.0.0.1:{twin.port}"
            document["metrics"]["address"] = f"127.0.0.1:{twin.metrics_port}"
            change(document)

        twin.configure(apart)
        return twin

    @property
    def config_path(self) -> Path:
        return self.directory / "relay.yaml"

    @property
    def log_path(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.log")

    def document(self):
        """relay.yaml as it is now."""
        return yaml.safe_load(self.config_path.read_text())

    def configure(self, change) -> None:
        """Rewrite relay.yaml with what `change(document)` does to it."""
        document = self.document()
        change(document)
        self.config_path.write_text(yaml.safe_dump(document))

    def run(self, *words: str, config: bool = True, check: bool = True, stdin: str | None = None):
        """Run a `relay` command to its end."""
        options = ("--config", str(self.config_path)) if config else ()
        result = subprocess.run(
            [*RELAY, *words, *options],
            capture_output=True,
            text=True,
            timeout=60,
            input=stdin,
            check=False,
        )
        if check and result.returncode:
            raise AssertionError(f"relay {' '.join(words)}: {result.stdout}{result.stderr}")
        return result

    def json(self, *words: str):
        return json.loads(self.run(*words, "--json").stdout)

    def start(
        self,
        wrapper: Sequence[str] = (),
        env: dict[str, str] | None = None,
        *,
        until: Sequence[int] = (200,),
    ) -> "Program":
        """Start it, and wait until `/readyz` answers with a status of `until`."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, *RELAY, "serve", "--config", str(self.config_path)],
                stderr=log,
                stdout=log,
                env={**os.environ, **(env or {})},
            )
        process = self.process
        wait_until(
            lambda: process.poll() is not None or self.http("/readyz")[0] in until,
            _READY_WITHIN,
            "readiness",
        )
        if self.process.poll() is not None:
            raise AssertionError(f"relay did not start:\n{self.log_path.read_text()[-4000:]}")
        return self

    def http(self, path: str) -> tuple[int, str]:
        """(status, body); status 0 while nothing listens."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5
            ) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (urllib.error.URLError, http.client.HTTPException, OSError):
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """The sum over the series of `name` that have these labels."""
        total = 0.0
        for line in self.http("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(
                f'{key}="{wanted}"' in series for key, wanted in labels.items()
            ):
                total += float(value)
        return total

    def log(self) -> str:
        return self.log_path.read_text()

    def kill(self) -> None:
        """kill -9 of every process of it, as when the machine loses power."""
        assert self.process is not None
        processes = [self.process.pid, *descendants(self.process.pid)]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()

    def workers(self) -> dict[str, int]:
        """The process of each worker that is ready, by its name."""
        status = json.loads(self.run("status", "--json", check=False).stdout)
        return {worker["name"]: worker["pid"] for worker in status["workers"]}

    def terminate(self, within: float = 60.0) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=within)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.kill()

    def client(self, login: bool = True) -> smtplib.SMTP:
        """An smtplib session inside TLS, logged in."""
        context = ssl.create_default_context(cafile=str(self.directory / "tls/ca.pem"))
        client = smtplib.SMTP("localhost", self.port, timeout=60)
        client.starttls(context=context)
        if login:
            client.login("app", PASSWORD)
        else:
            client.ehlo()
        return client

    def send(
        self,
        recipients: Iterable[str] = ("to@dest.test",),
        *,
        headers: str = "",
        body: str = "Hello.\r\n",
        message_id: str = "<1@client.test>",
    ) -> None:
        """Send one message over a session of its own."""
        with self.client() as client:
            client.sendmail("app@sender.test", list(recipients), letter(headers, body, message_id))


def letter(headers: str = "", body: str = "Hello.\r\n", message_id: str = "<1@client.test>"):
    """A small message; `headers` are whole fields, each ended by CRLF."""
    return (
        "From: App <app@sender.test>\r\nTo: <to@dest.test>\r\nSubject: Test\r\n"
        f"Message-ID: {message_id}\r\n{headers}\r\n{body}"
    ).encode()

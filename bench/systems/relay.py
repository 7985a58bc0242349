"""This relay, set up by `relay init` and started by `relay serve`, as a user would."""

import json
import platform
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from bench.systems.system import PASSWORD, USER, Ports
from relay.config.model import Config

_RELAY = (sys.executable, "-m", "relay.cli.main")


class Relay:
    """One relay process tree with an embedded store.

    `workers` is their number, None for the default; `changes` are merged into the configuration
    that `relay init` wrote.
    """

    name = "relay"
    user = USER

    def __init__(
        self, workers: int | None = None, changes: Mapping[str, Any] | None = None
    ) -> None:
        self._changes = dict(changes or {})
        if workers is not None:
            self.name = f"relay, {workers} worker{'s' if workers > 1 else ''}"
            self._changes["workers"] = workers

    @staticmethod
    def has_workers() -> bool:
        """Whether this relay can run several."""
        return "workers" in Config.model_fields

    def start(self, directory: Path, ports: Ports) -> None:
        self._dir = directory / "relay"
        password = directory / "password"
        directory.mkdir(parents=True, exist_ok=True)
        password.write_text(PASSWORD)
        password.chmod(0o600)
        options = {
            "--hostname": "relay.test",
            "--listen": f"127.0.0.1:{ports.submission}",
            "--identity": "sender.test",
            "--source": "127.0.0.2",
            "--route": f"*=127.0.0.1:{ports.sink}",
            "--credential": USER,
            "--password-file": str(password),
            "--metrics": f"127.0.0.1:{ports.metrics}",
        }
        words = [word for option in options.items() for word in option]
        subprocess.run(
            [*_RELAY, "init", str(self._dir), "--yes", *words], check=True, capture_output=True
        )
        self._change(self._dir / "relay.yaml")
        self.serve(ports)

    def serve(self, ports: Ports) -> None:
        """Start what was set up; return when it is ready."""
        self._log = (self._dir / "relay.log").open("ab")
        self._process = subprocess.Popen(
            [*_RELAY, "serve", "--config", str(self._dir / "relay.yaml")], stderr=self._log
        )
        try:
            self._wait_until_ready(f"http://127.0.0.1:{ports.metrics}/readyz")
        except RuntimeError:
            self.stop()
            raise

    def roots(self) -> tuple[int, ...]:
        return (self._process.pid,)

    def authority(self) -> Path:
        return self._dir / "tls/ca.pem"

    def dkim_record(self) -> tuple[str, str] | None:
        record = json.loads(self.command("dkim", "show", "sender.test", "--json"))[0]
        return record["name"], record["value"]

    def version(self) -> str:
        names = ("uvloop", "cryptography", "aiosmtpd", "aiosmtplib")
        libraries = ", ".join(f"{name} {version(name)}" for name in names)
        return (
            f"relay {_commit() or version('relay')}, Python {platform.python_version()}, "
            f"{ssl.OPENSSL_VERSION}, {libraries}"
        )

    def command(self, *words: str, given: bytes | None = None) -> bytes:
        """What `relay WORDS` prints for this configuration."""
        return subprocess.run(
            self.command_line(*words), check=True, capture_output=True, input=given
        ).stdout

    def command_line(self, *words: str) -> list[str]:
        """`relay WORDS` for this configuration."""
        return [*_RELAY, *words, "--config", str(self._dir / "relay.yaml")]

    def data_dir(self) -> Path:
        return self._dir / "data"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()

    def _change(self, path: Path) -> None:
        if self._changes:
            written = yaml.safe_load(path.read_text())
            path.write_text(yaml.safe_dump(_merged(written, self._changes), sort_keys=False))

    def _wait_until_ready(self, url: str) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        last = Path(self._log.name).read_text(errors="replace")[-1000:]
        raise RuntimeError(f"relay did not become ready: {last}")


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        known = merged.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(known, value)
        else:
            merged[key] = value
    return merged


def _commit() -> str:
    """The commit of this working copy; empty where it is none."""
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        shown = subprocess.run(asked, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return shown.stdout.strip()

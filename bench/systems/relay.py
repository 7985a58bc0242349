"""This relay, set up by `relay init` and started by `relay serve`, as a user would."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.systems.system import PASSWORD, USER, Ports

_RELAY = (sys.executable, "-m", "relay.cli.main")


class Relay:
    """One relay process tree with an embedded store."""

    name = "relay"
    user = USER

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
        self._log = (directory / "relay.log").open("wb")
        self._process = subprocess.Popen(
            [*_RELAY, "serve", "--config", str(self._dir / "relay.yaml")], stderr=self._log
        )
        self._wait_until_ready(f"http://127.0.0.1:{ports.metrics}/readyz")

    def roots(self) -> tuple[int, ...]:
        return (self._process.pid,)

    def authority(self) -> Path:
        return self._dir / "tls/ca.pem"

    def dkim_record(self) -> tuple[str, str] | None:
        shown = subprocess.run(
            [
                *_RELAY,
                "dkim",
                "show",
                "sender.test",
                "--json",
                "--config",
                self._dir / "relay.yaml",
            ],
            check=True,
            capture_output=True,
        )
        record = json.loads(shown.stdout)[0]
        return record["name"], record["value"]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()

    def _wait_until_ready(self, url: str) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError(f"relay did not become ready; see {self._log.name}")

"""Haraka as a smarthost with STARTTLS and AUTH, signing with its DKIM plugin.

One process for each core (`nodes=cpus`) and its default delivery concurrency. It keeps a message in
its outbound queue, which it syncs, before 250. Needs node and the npm packages Haraka and
haraka-plugin-dkim, installed beside each other: in the folder that $BENCH_HARAKA names (the one
with node_modules in it), or globally, with `haraka` on the PATH.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.systems.system import PASSWORD, USER, Ports
from bench.systems.tls import write_certificate

_PLUGINS = "tls\nauth/flat_file\nto_sink\ndkim\n"

# Every domain is at the sink; mail leaves from the same address as that of the other systems.
_TO_SINK = """\
exports.hook_get_mx = (next) =>
    next(OK, {{ priority: 0, exchange: '127.0.0.1', port: {sink}, bind: '127.0.0.2' }})
"""

_CONFIG = {
    "plugins": _PLUGINS,
    "me": "haraka.test\n",
    "smtp.ini": "listen=127.0.0.1:{submission}\nnodes=cpus\n",
    "outbound.ini": "enable_tls=false\nlocal_mx_ok=true\n",
    "log.ini": "[main]\nlevel=WARN\nformat=default\n",
    "tls.ini": "[main]\n",
    "auth_flat_file.ini": "[core]\nmethods=PLAIN,LOGIN\n[users]\n{user}={password}\n",
    "dkim.ini": "[sign]\nenabled=true\n[canon]\nbody=simple\n[verify]\nenabled=false\n",
    "dkim/sender.test/selector": "bench\n",
}


class Haraka:
    """One private Haraka, with a worker for each core."""

    name = "Haraka with DKIM"
    user = USER

    @staticmethod
    def missing() -> list[str]:
        """What is not installed."""
        lacking = [name for name in ("node", "smtp-sink") if shutil.which(name) is None]
        modules = _modules()
        if modules is None:
            return [*lacking, "Haraka"]
        plugin = modules / "haraka-plugin-dkim"
        return lacking if plugin.is_dir() else [*lacking, "haraka-plugin-dkim"]

    def start(self, directory: Path, ports: Ports) -> None:
        modules = _modules()
        assert modules is not None
        self._dir = directory
        (directory / "config/dkim/sender.test").mkdir(parents=True)
        for name in ("plugins", "queue"):
            (directory / name).mkdir()
        (directory / "node_modules").symlink_to(modules)
        (directory / "plugins/to_sink.js").write_text(_TO_SINK.format(sink=ports.sink))
        for name, text in _CONFIG.items():
            filled = text.format(submission=ports.submission, user=USER, password=PASSWORD)
            (directory / "config" / name).write_text(filled)
        # Its own defaults, which a file replaces as a whole, with room for large messages.
        defaults = (modules / "Haraka/config/connection.ini").read_text()
        larger = re.sub(r"(?m)^bytes=.*$", "bytes=60000000", defaults)
        (directory / "config/connection.ini").write_text(larger)
        write_certificate(directory / "tls")
        shutil.copy(directory / "tls/chain.pem", directory / "config/tls_cert.pem")
        shutil.copy(directory / "tls/key.pem", directory / "config/tls_key.pem")
        self._write_key()
        self._log = (directory / "haraka.log").open("wb")
        self._process = subprocess.Popen(
            ["node", str(modules / "Haraka/bin/haraka"), "-c", str(directory)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait_until_ready(ports.submission)
        except RuntimeError:
            self.stop()
            raise

    def roots(self) -> tuple[int, ...]:
        return (self._process.pid,)

    def authority(self) -> Path:
        return self._dir / "tls/ca.pem"

    def dkim_record(self) -> tuple[str, str] | None:
        return "bench._domainkey.sender.test", self._record

    def version(self) -> str:
        modules = _modules()
        assert modules is not None
        versions = [
            json.loads((modules / name / "package.json").read_text())["version"]
            for name in ("Haraka", "haraka-plugin-dkim")
        ]
        node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True)
        return f"Haraka {versions[0]}, its DKIM plugin {versions[1]}, node {node.stdout.strip()}"

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        finally:
            self._log.close()

    def _write_key(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (self._dir / "config/dkim/sender.test/private").write_bytes(private)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._record = "v=DKIM1; k=rsa; p=" + "".join(public.decode().splitlines()[1:-1])

    def _wait_until_ready(self, port: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
                    if probe.recv(4).startswith(b"220"):
                        return
            except OSError:
                time.sleep(0.1)
        last = Path(self._log.name).read_text(errors="replace")[-1000:]
        raise RuntimeError(f"Haraka did not become ready: {last}")


def _modules() -> Path | None:
    """The node_modules folder that Haraka is in."""
    if folder := os.environ.get("BENCH_HARAKA"):
        modules = Path(folder) / "node_modules"
        return modules if (modules / "Haraka").is_dir() else None
    program = shutil.which("haraka")
    return None if program is None else Path(program).resolve().parents[2]

"""What the benchmark asks of a system, and where it listens."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SENDER = "app@sender.test"
USER = "app"
PASSWORD = "benchmark-password-of-some-length"  # a fixture, of use on loopback only


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports: where clients connect, and where the sink listens."""

    submission: int
    sink: int
    metrics: int

    @classmethod
    def free(cls) -> "Ports":
        """Ports that nobody listens on now."""
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        ports = [probe.getsockname()[1] for probe in probes]
        for probe in probes:
            probe.close()
        return cls(*ports)


class System(Protocol):
    """A mail system under test."""

    name: str
    user: str

    def start(self, directory: Path, ports: Ports) -> None:
        """Start with everything below `directory`; return when it answers. Raises on failure."""

    def roots(self) -> tuple[int, ...]:
        """The process ids whose trees are the system."""

    def authority(self) -> Path:
        """The CA file that its clients trust."""

    def dkim_record(self) -> tuple[str, str] | None:
        """(DNS name, TXT record) of its signing key; None when it does not sign."""

    def version(self) -> str:
        """What it is, with the versions that matter."""

    def stop(self) -> None: ...

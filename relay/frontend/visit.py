"""A connection that came through the door: what is said of it from one process to another."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["", "connections", "client connections", "blocked", "access denied"]
"""Why a connection is refused; empty where it is welcome."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Who connected, and where. `client` is an IP address; `blocked_for` are the seconds that a
    blocked client has to wait. A refused connection is served too: it hears why."""

    listener: str
    client: str
    implicit_tls: bool = False
    verdict: Verdict = ""
    blocked_for: float = 0.0

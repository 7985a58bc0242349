"""The loads: one base row, and rows that each differ from it in one dimension.

Not the full product of sizes, connections, messages a connection, recipients and pipelining, which
would take hours; each dimension is shown against the base. The row with 5 MB comes last, because
what a process has once allocated, it may keep.
"""

from dataclasses import dataclass, replace

_KB = 1024
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """One load: `messages` of `size` octets over `connections`, `per_connection` on each."""

    size: int
    connections: int
    per_connection: int
    messages: int
    recipients: int = 1
    pipelining: bool = False
    sets: int = 0
    spread_recipients: bool = False

    def __str__(self) -> str:
        words = [
            f"{self.size // _MB} MB" if self.size >= _MB else f"{self.size // _KB} KB",
            f"{self.connections} connections",
            f"{self.per_connection} a connection",
        ]
        if self.recipients > 1:
            words.append(f"{self.recipients} recipients")
        if self.pipelining:
            words.append("pipelined")
        return ", ".join(words)

    def scaled(self, share: float) -> "Case":
        """The same load with fewer or more messages, but at least one for each connection."""
        least = min(self.messages, self.connections)
        return replace(self, messages=max(least, round(self.messages * share)))


BASE = Case(size=4 * _KB, connections=10, per_connection=10, messages=3000)

# The name of each row says in what it differs from the base.
ROWS: dict[str, Case] = {
    "base": BASE,
    "50 KB": replace(BASE, size=50 * _KB, messages=1000),
    "1 a connection": replace(BASE, per_connection=1, messages=600),
    "200 connections": replace(BASE, connections=200),
    "10 recipients": replace(BASE, recipients=10, messages=1000),
    "pipelined": replace(BASE, pipelining=True),
    "5 MB": replace(BASE, size=5 * _MB, messages=30),
}

"""The way from one source address to one destination: what connections are kept and reused for."""

from dataclasses import dataclass

from relay.routing.plan import Destination, Family


@dataclass(frozen=True, slots=True)
class Path:
    """A source with its EHLO name, and a destination with its TLS policy and login.

    `domain` is the recipient domain where its MX decide, and empty for a smarthost, which takes
    all domains over the same connections.
    """

    source: str
    family: Family
    ehlo: str
    destination: Destination
    domain: str = ""

    @property
    def site(self) -> str:
        """Whose patience counts: all sources share the concurrency limit of one destination."""
        return self.domain or str(self.destination)

    def __str__(self) -> str:
        return f"{self.source} to {self.site}"

"""The way from one source address to one destination: what connections are kept and reused for."""

from dataclasses import dataclass

from relay.limits.specs import line_key
from relay.routing.plan import Destination, Family
from relay.routing.sites import Site


@dataclass(frozen=True, slots=True)
class Path:
    """A source with its EHLO name, and a site with the TLS policy and the login for it. All
    domains of the site are sent to over the same connections."""

    source: str
    family: Family
    ehlo: str
    destination: Destination
    site: Site

    @property
    def line(self) -> str:
        """Whose patience counts, in words that limits and connections are counted by: the source
        together with the provider, or with the site of none."""
        return line_key(self.source, self.site.line)

    def __str__(self) -> str:
        return f"{self.source} to {self.site}"

"""Which provider a destination belongs to, by its domain or by its mail exchanges. Pure.

A domain that a definition lists is the provider's, wherever its MX points. Otherwise the exchanges
decide: all of them must be one provider's. Were the best enough, anybody could name a host of the
provider's that does not answer before one of his own, and have what that one says taken for the
provider's word. Of several suffixes that match, the longest counts; of several definitions with one
suffix or domain, the last one.
"""

from collections.abc import Iterable, Mapping

from relay.config.shaping import Provider


class Providers:
    """The definitions in force, compiled for look-up."""

    def __init__(self, definitions: Mapping[str, Provider]) -> None:
        self._domains: dict[str, str] = {}
        self._suffixes: dict[str, str] = {}
        for name, definition in definitions.items():
            self._domains |= dict.fromkeys(definition.domains or (), name)
            self._suffixes |= dict.fromkeys(definition.exchanges or (), name)

    def of_domain(self, domain: str) -> str:
        """The provider that lists `domain` (lower case, A-labels); `""` where none does."""
        return self._domains.get(domain, "")

    def of_exchanges(self, names: Iterable[str]) -> str:
        """The provider that all of these hosts belong to; `""` where there is none."""
        found = {self._of_exchange(name) for name in names}
        return found.pop() if len(found) == 1 else ""

    def _of_exchange(self, name: str) -> str:
        while name:
            provider = self._suffixes.get(name)
            if provider is not None:
                return provider
            name = name.partition(".")[2]
        return ""

"""The servers that a URL names, where it names several: one of them is the primary.

The driver tries them in turn, within one time-out: a machine that has vanished, which refuses
nothing, would use all of it up, and the standby that has taken over would never be asked. So each
is tried for its part of the time, and first the one that answered last.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

S = TypeVar("S")


def urls_of(url: str) -> tuple[str, ...]:
    """A URL for each server of a URL, in its order."""
    parts = urlsplit(url)
    login, at, servers = parts.netloc.rpartition("@")
    if servers:
        return tuple(
            urlunsplit(parts._replace(netloc=f"{login}{at}{server}"))
            for server in servers.split(",")
        )
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    hosts, ports = query.get("host", "").split(","), query.get("port", "").split(",")
    if len(hosts) == 1:
        return (url,)
    if len(ports) != len(hosts):
        ports = ports[:1] * len(hosts)
    before = url.partition("?")[0]
    return tuple(
        f"{before}?{urlencode({**query, 'host': host, 'port': port})}"
        for host, port in zip(hosts, ports, strict=True)
    )


class Hosts:
    """Those of one database, in the order in which this process tries them."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._order = list(urls)

    async def connect(self, connect: Callable[[str, float], Awaitable[S]], within: float) -> S:
        """What `connect` gives for the first server that will do, within so many seconds. Raises
        what the driver raises; of several faults the one that a server has told."""
        fault: Exception | None = None
        for url in tuple(self._order):
            try:
                session = await connect(url, within / len(self._order))
            except Exception as error:  # the driver raises errors of many kinds
                if fault is None or isinstance(fault, OSError):
                    fault = error
            else:
                self._order.sort(key=lambda each: each != url)  # stable: the others keep theirs
                return session
        assert fault is not None
        raise fault

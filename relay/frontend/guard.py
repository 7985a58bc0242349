"""Who may connect and log in: counts of connections and of failed logins. Pure; clock injected.

Counts per client address (an IPv6 client is its /64, which one host has for itself), per credential
and in all. Failed logins are counted per client and per user name, outlive the connection and block
for a time. Tables are bounded: the longest unused entries are forgotten first. A blocked client
hurts no other client; a blocked user name can still log in with a password that this process has
seen to be right before (see `Authenticator`), so that nobody is locked out by strangers.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Literal

from relay.config.model import Bounds

_ENTRIES = 10_000
_NAME_LENGTH = 256
_USER_FACTOR = 5  # failures of one user name, from any address, weigh less than of one address

Verdict = Literal["", "connections", "client connections", "blocked"]


@dataclass(slots=True)
class _Failures:
    since: float
    count: int = 0
    blocked_until: float = 0.0


class Guard:
    """The counts of one front end. `bounds` may be replaced at any time."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float]) -> None:
        self.bounds = bounds
        self._clock = clock
        self._open = 0
        self._by_client: Counter[str] = Counter()
        self._by_credential: Counter[str] = Counter()
        self._clients: OrderedDict[str, _Failures] = OrderedDict()
        self._users: OrderedDict[str, _Failures] = OrderedDict()

    @property
    def connections(self) -> int:
        return self._open

    def connect(self, client: str) -> Verdict:
        """Count a connection of `client` (an IP address); where one is refused, say why.

        A refused one is not counted.
        """
        key = client_key(client)
        if self._open >= self.bounds.connections:
            return "connections"
        if self._by_client[key] >= self.bounds.connections_per_client:
            return "client connections"
        if self.client_blocked(client):
            return "blocked"
        self._open += 1
        self._by_client[key] += 1
        return ""

    def disconnect(self, client: str) -> None:
        """The end of a connection that `connect` counted."""
        self._open -= 1
        _decrement(self._by_client, client_key(client))

    def log_in(self, credential: str) -> bool:
        """Count a session of a credential; False (and not counted) where it has too many."""
        if self._by_credential[credential] >= self.bounds.connections_per_credential:
            return False
        self._by_credential[credential] += 1
        return True

    def log_out(self, credential: str) -> None:
        """The end of a session that `log_in` counted."""
        _decrement(self._by_credential, credential)

    def failed(self, client: str, username: str) -> None:
        """A login failed."""
        self._count(self._clients, client_key(client), self.bounds.block_after)
        self._count(self._users, username[:_NAME_LENGTH], self.bounds.block_after * _USER_FACTOR)

    def client_blocked(self, client: str) -> float:
        """For how many seconds more this client may not connect or log in; 0 if it may."""
        return self._blocked(self._clients, client_key(client))

    def user_blocked(self, username: str) -> float:
        """For how many seconds more no unknown password is tried for this user; 0 if it is."""
        return self._blocked(self._users, username[:_NAME_LENGTH])

    def _count(self, table: "OrderedDict[str, _Failures]", key: str, limit: int) -> None:
        now = self._clock()
        entry = table.get(key)
        if entry is None or now - entry.since > self.bounds.block_for:
            entry = table[key] = _Failures(now)
        table.move_to_end(key)
        entry.count += 1
        if entry.count >= limit:
            entry.blocked_until = now + self.bounds.block_for
            entry.since, entry.count = now, 0
        while len(table) > _ENTRIES:
            table.popitem(last=False)

    def _blocked(self, table: "OrderedDict[str, _Failures]", key: str) -> float:
        entry = table.get(key)
        return max(0.0, entry.blocked_until - self._clock()) if entry is not None else 0.0


def _decrement(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


def client_key(client: str) -> str:
    """Under what an address is counted: an IPv4 address itself, an IPv6 address by its /64."""
    if ":" not in client:
        return client
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"

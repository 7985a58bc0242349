"""Who may connect and log in: counts of connections and of failed logins. Pure; clock injected.

Counts per client address (an IPv6 client is its /64, which one host has for itself), per credential
and in all. There is one guard however many processes serve clients, so that its counts are exact.
Failed logins are counted per client and per user name, outlive the connection and block for a time.
Tables are bounded: the longest unused entries are forgotten first. A blocked client hurts no other
client; a blocked user name can still log in with a password that was seen to be right before (see
`Authenticator`), so that nobody is locked out by strangers.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from relay.config.model import Bounds
from relay.frontend.blocks import ENTRIES, Block, Blocks, Kind
from relay.frontend.visit import Verdict

_NAME_LENGTH = 256
_USER_FACTOR = 5  # failures of one user name, from any address, weigh less than of one address
_ONCE_KEPT = 86_400.0  # seconds: far longer than any one-time login is valid


@dataclass(slots=True)
class _Failures:
    since: float
    count: int = 0


class Guard:
    """The counts of one relay. `bounds` may be replaced at any time."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float]) -> None:
        self.bounds = bounds
        self.blocks = Blocks(clock)
        self._clock = clock
        self._open = 0
        self._by_client: Counter[str] = Counter()
        self._by_credential: Counter[str] = Counter()
        self._failures: dict[Kind, OrderedDict[str, _Failures]] = {
            "client": OrderedDict(),
            "user": OrderedDict(),
        }
        self._used: OrderedDict[str, float] = OrderedDict()

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
        if self.blocks.remaining("client", key):
            return "blocked"
        self._open += 1
        self._by_client[key] += 1
        return ""

    def disconnect(self, client: str) -> None:
        """The end of a connection that `connect` counted."""
        self._open -= 1
        _decrement(self._by_client, client_key(client))

    def log_in(self, credential: str, once: str = "") -> bool:
        """Count a session of a credential; False (and not counted) where it has too many.

        `once` names a one-time login. It is let in beyond the bound, since an operator's test says
        most when a credential is busy; False means that it was used before.
        """
        if once:
            if not self._use(once):
                return False
        elif self._by_credential[credential] >= self.bounds.connections_per_credential:
            return False
        self._by_credential[credential] += 1
        return True

    def log_out(self, credential: str) -> None:
        """The end of a session that `log_in` counted."""
        _decrement(self._by_credential, credential)

    def failed(self, client: str, username: str) -> tuple[Block, ...]:
        """A login failed: what is blocked from now on because of it, most often nothing."""
        limit = self.bounds.block_after
        counted = (
            self._count("client", client_key(client), limit),
            self._count("user", user_key(username), limit * _USER_FACTOR),
        )
        blocks = tuple(block for block in counted if block is not None)
        for block in blocks:
            self.blocks.put(block)
        return blocks

    def client_blocked(self, client: str) -> float:
        """For how many seconds more this client may not connect or log in; 0 if it may."""
        return self.blocks.remaining("client", client_key(client))

    def user_blocked(self, username: str) -> float:
        """For how many seconds more no unknown password is tried for this user; 0 if it is."""
        return self.blocks.remaining("user", user_key(username))

    def _count(self, kind: Kind, key: str, limit: int) -> Block | None:
        table, now = self._failures[kind], self._clock()
        entry = table.get(key)
        if entry is None or now - entry.since > self.bounds.block_for:
            entry = table[key] = _Failures(now)
        table.move_to_end(key)
        while len(table) > ENTRIES:
            table.popitem(last=False)
        entry.count += 1
        if entry.count < limit:
            return None
        del table[key]
        return Block(kind, key, self.bounds.block_for)

    def _use(self, once: str) -> bool:
        now = self._clock()
        while self._used and next(iter(self._used.values())) < now - _ONCE_KEPT:
            self._used.popitem(last=False)
        if once in self._used:
            return False
        self._used[once] = now
        return True


def _decrement(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


def user_key(username: str) -> str:
    """Under what the failures of a user name are counted, however long it is."""
    return username[:_NAME_LENGTH]


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

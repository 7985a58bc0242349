"""Who a user name and password belong to: scrypt in threads, and a memory of what was right.

A user name is the name of a credential. Its secrets are those of the configuration and those added
with `relay credentials add`. A hash costs some 50 ms, so hashes are computed off the event loop, in
a bounded pool with a bounded queue; what was right once is remembered under a keyed digest (the key
is random and never written down), so that the next login of the same client costs microseconds.
Processes that share the key may tell each other what they found right. `load` forgets what was
remembered of those whose secrets have changed: a revoked one stops at once, and whoever keeps his
stays known while strangers try passwords for his name. One client has a share of the queue only: it
can neither fill it nor try many passwords before the first failure counts.

A wrong password, an unknown user, a disabled credential and a wrong network all take the time of
the same number of hashes. No password is kept, logged or part of an exception.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address

from relay.config import passwords
from relay.config.model import Config, Credential, Network
from relay.frontend.guard import client_key
from relay.store.secrets import encoded_hash
from relay.store.values import Secret

_THREADS = 2
_WAITING = 64
_WAITING_OF_CLIENT = 16
_REMEMBERED = 10_000
_ONE_TIME = 100


class AuthenticationUnavailable(Exception):
    """Too many logins wait to be checked: SMTP 454 4.7.0."""


@dataclass(frozen=True, slots=True)
class Known:
    """A login that was found right: the credential, the digest of user name and password, and a
    mark of the secrets that it was right by. Means nothing without the key of both digests."""

    credential: str
    digest: bytes = field(repr=False)
    mark: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Account:
    enabled: bool
    networks: tuple[Network, ...]
    secrets: tuple[str, ...] = field(repr=False)
    mark: bytes = field(repr=False)

    def allows(self, client: str) -> bool:
        return self.enabled and is_within(client, self.networks)


class Authenticator:
    """Knows the credentials of one configuration. Make it, `load` it, `close` it.

    Authenticators with the same `key` can `learn` what another has `learned`.
    """

    def __init__(
        self, *, key: bytes = b"", learned: Callable[[Known], None] = lambda known: None
    ) -> None:
        self._learned = learned
        self._accounts: Mapping[str, _Account] = {}
        self._hashes = 1
        self._dummy = passwords.hash_password(secrets.token_urlsafe())
        self._key = key or secrets.token_bytes(32)
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._once: dict[bytes, float] = {}
        self._generation = 0
        self._checks: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="login")

    def load(self, config: Config, stored: Iterable[Secret] = ()) -> None:
        """Know these credentials and their secrets, and no others, from now on."""
        added: dict[str, list[str]] = {}
        for secret in stored:
            if secret.revoked_at is None:
                added.setdefault(secret.credential, []).append(encoded_hash(secret))
        before = self._accounts
        self._accounts = {
            name: self._account(credential, added.get(name, ()))
            for name, credential in config.credentials.items()
        }
        counts = [
            sum(map(passwords.is_hash, account.secrets)) for account in self._accounts.values()
        ]
        self._hashes = max(1, *counts) if counts else 1
        self._generation += 1
        same = {
            name
            for name, account in self._accounts.items()
            if name in before and before[name].mark == account.mark
        }
        for digest in [digest for digest, name in self._known.items() if name not in same]:
            del self._known[digest]
        self._checks.clear()

    def _account(self, credential: Credential, added: Iterable[str]) -> _Account:
        known = (
            *((credential.password,) if credential.password else ()),
            *credential.password_hashes,
            *added,
        )
        mark = self._keyed(*known)
        return _Account(credential.enabled, credential.networks, known, mark)

    async def check(
        self, username: str, password: str, client: str, *, remembered_only: bool = False
    ) -> str | None:
        """The credential's name, or None where anything is wrong.

        `client` is its IP address. With `remembered_only` no hash is computed: only what this
        process has found right before is right. Raises `AuthenticationUnavailable`.
        """
        account = self._accounts.get(username)
        digest = self._digest(username, password)
        if account is not None and not account.allows(client):
            # As if there were no such user: the right password must not be told by its time.
            account, digest = None, self._digest("", password)
        if digest in self._known:
            self._known.move_to_end(digest)
            return username
        if remembered_only:
            return None
        generation = self._generation
        # Shielded: others may wait for the same hash, as when all clients come back at once.
        right = await asyncio.shield(self._hashed(digest, password, account, client))
        if not right or account is None:
            return None
        if generation != self._generation:
            # Loaded anew while the hash was computed: the secret may have been revoked.
            return await self.check(username, password, client)
        self._remember(digest, username)
        self._learned(Known(username, digest, account.mark))
        return username

    def learn(self, known: Known) -> None:
        """Remember what another process found right, unless the secrets have changed since."""
        account = self._accounts.get(known.credential)
        if account is not None and account.mark == known.mark:
            self._remember(known.digest, known.credential)

    def _remember(self, digest: bytes, username: str) -> None:
        self._known[digest] = username
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _hashed(
        self, digest: bytes, password: str, account: _Account | None, client: str
    ) -> "asyncio.Future[bool]":
        """The check by hashes: one for all that ask the same at the same time."""
        check = self._checks.get(digest)
        if check is not None:
            return check
        place = client_key(client)
        if self._waiting.total() >= _WAITING or self._waiting[place] >= _WAITING_OF_CLIENT:
            raise AuthenticationUnavailable
        self._waiting[place] += 1
        check = asyncio.get_running_loop().run_in_executor(
            self._pool, self._verify, password, account.secrets if account else ()
        )
        self._checks[digest] = check

        def done(check: "asyncio.Future[bool]") -> None:
            self._waiting[place] -= 1
            if not self._waiting[place]:
                del self._waiting[place]
            if self._checks.get(digest) is check:
                del self._checks[digest]

        check.add_done_callback(done)
        return check

    def allow_once(self, username: str, password: str, seconds: float) -> None:
        """Let `username` log in with `password`, from any network, once within `seconds`.

        For a test message by an operator of this host. Survives `load`, not the process. Where
        several processes are told, it is the guard that lets in once only.
        """
        now = time.monotonic()
        self._once = {digest: until for digest, until in self._once.items() if until > now}
        if len(self._once) >= _ONE_TIME:
            raise AuthenticationUnavailable
        self._once[self._digest(username, password)] = now + seconds

    def take_once(self, username: str, password: str) -> str:
        """The name of a one-time login, the same in all processes, which is used up here; an empty
        string where this is none."""
        account = self._accounts.get(username)
        until = self._once.pop(self._digest(username, password), 0.0)
        if account is None or not account.enabled or until <= time.monotonic():
            return ""
        return hashlib.sha256(f"{username}\0{password}".encode()).hexdigest()

    def knows(self, username: str) -> bool:
        """Whether there is such a credential (so that its name may be logged)."""
        return username in self._accounts

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _digest(self, username: str, password: str) -> bytes:
        return self._keyed(username, password)

    def _keyed(self, *words: str) -> bytes:
        parts = [word.encode("utf-8", "surrogateescape") for word in words]
        octets = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self._key, octets, hashlib.sha256)

    def _verify(self, password: str, secrets_of_user: tuple[str, ...]) -> bool:
        """Runs in a thread. A wrong password takes as many hashes whoever's it is."""
        hashed = 0
        for secret in secrets_of_user:
            hashed += passwords.is_hash(secret)
            if passwords.verify(password, secret):
                return True
        for _ in range(self._hashes - hashed):
            passwords.verify(password, self._dummy)
        return False


def is_within(client: str, networks: tuple[Network, ...]) -> bool:
    """Whether an IP address is in one of the networks; no networks means any address."""
    if not networks:
        return True
    address = ip_address(client.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)

"""Suspending and resuming: mail of a set, a credential, a source, a provider or a domain waits.

Acceptance goes on. What the order names is checked against the configuration, so that a slip of
the finger does not look like success. A running relay is told (`changed`) and puts the order in
force in all workers; where none runs, the next one begins with it.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from ipaddress import ip_address

from relay.admin.control import Changed, Refused
from relay.config.model import Config
from relay.config.providers import providers_of
from relay.mail.address import AddressError, parse_domain
from relay.mail.enhanced import printable_text
from relay.store.interface import SuspensionStore
from relay.store.values import Suspension, SuspensionKind

MOST = 1_000
"""Suspensions at a time: each worker holds all of them in memory."""

LONGEST_S = 10 * 365 * 86_400.0
_REASON_CHARACTERS = 200
_FREED_AT_ONCE = 1_000
_PROVIDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch


@dataclass(frozen=True, slots=True)
class SuspendRequest:
    """Have mail wait from now on: for `seconds`, or where that is None until it is resumed.

    `by` is who orders it.
    """

    kind: SuspensionKind
    name: str
    reason: str
    by: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """Let the mail go that was suspended under this name."""

    kind: SuspensionKind
    name: str


async def _nobody() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspensionOperations:
    """`config` is the configuration in force, `clock` gives UTC milliseconds. `changed` is awaited
    after a change; a relay that does not run has nobody to tell, so freeing is done here."""

    store: SuspensionStore
    config: Callable[[], Config]
    clock: Callable[[], int]
    changed: Callable[[], Awaitable[None]] | None = None

    async def suspend(self, request: SuspendRequest) -> Suspension:
        """The order that is in force now. Raises `Refused`."""
        name = _spelled(request.kind, request.name)
        self._must_be_known(request.kind, name)
        reason = printable_text(request.reason.strip(), _REASON_CHARACTERS)
        if not reason:
            raise Refused("say why, with --reason: whoever finds the mail waiting will ask")
        if request.seconds is not None and not 0 < request.seconds <= LONGEST_S:
            raise Refused(f"a suspension lasts from 1 s to 10 years, not {request.seconds:g} s")
        now = self.clock()
        until = None if request.seconds is None else now + round(request.seconds * 1000)
        by = printable_text(request.by, 64) or "an operator"
        suspension = Suspension(request.kind, name, reason, by, now, until)
        known = await self.store.all()
        if len(known) >= MOST and suspension.key not in {each.key for each in known}:
            raise Refused(f"{MOST} suspensions are in force already; resume some")
        await self.store.put(suspension)
        await self._tell()
        return suspension

    async def resume(self, request: ResumeRequest) -> Changed:
        """Raises `Refused` where no such suspension is in force."""
        name = _spelled(request.kind, request.name)  # it may have left the configuration since
        if not await self.store.lift(request.kind, name):
            raise Refused(f"{request.kind} {name} is not suspended", "not_found")
        await self._tell()
        return Changed(1)

    async def list(self) -> list[Suspension]:
        """Those in force."""
        now = self.clock()
        return [s for s in await self.store.all() if s.until is None or s.until > now]

    async def _tell(self) -> None:
        if self.changed is not None:
            await self.changed()
            return
        while await self.store.free(_FREED_AT_ONCE):
            pass

    def _must_be_known(self, kind: SuspensionKind, name: str) -> None:
        """Raises `Refused`."""
        config = self.config()
        match kind:
            case "set":
                _must_be_in(config.configuration_sets, name, "configuration set")
            case "credential":
                _must_be_in(config.credentials, name, "credential")
            case "source":
                _must_be_in(_sources(config), name, "source")
            case "provider":
                _must_be_in(providers_of(config), name, "provider")


def _spelled(kind: SuspensionKind, name: str) -> str:
    """The name as mail is compared with it. Raises `Refused`."""
    match kind:
        case "source":
            return _address(name)
        case "domain":
            return _domain(name)
        case "provider" if not _PROVIDER(name):
            raise Refused(f"{name!r} is not the name of a provider")
    return name


def _sources(config: Config) -> Collection[str]:
    return {str(source.address) for pool in config.pools.values() for source in pool.sources}


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise Refused(f"{text!r} is not an IP address") from None


def _domain(text: str) -> str:
    try:
        return parse_domain(text)
    except AddressError as error:
        raise Refused(f"{text!r} is not a domain: {error}") from None


def _must_be_in(configured: Collection[str], name: str, what: str) -> None:
    if name in configured:
        return
    there = ", ".join(sorted(configured)[:20]) or "none"
    more = f" and {len(configured) - 20} more" if len(configured) > 20 else ""
    raise Refused(f"no {what} {name} is known (there: {there}{more})", "not_found")

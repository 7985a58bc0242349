"""What operators do with the suppression list: look at it, change it, import, and ask why.

The values of each question and answer, and the operations over a store. Who changes something is
named in the request and noted in the log of changes. Fails with `Refused` or `StoreError`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from relay.admin.control import MAX_BATCH, Changed, Refused
from relay.config.model import Config
from relay.config.suppression import reasons_checked
from relay.mail.address import AddressError, parse_mailbox
from relay.mail.enhanced import printable_text
from relay.store.interface import SuppressionStore
from relay.store.suppression_values import (
    Author,
    BulkKind,
    SuppressionChange,
    SuppressionCount,
)
from relay.store.values import SuppressionEntry

MOST_CHANGES_SHOWN = 10_000
LONGEST_NOTE = 500
LONGEST_EVIDENCE = 1_000
_WHO_CHARACTERS = 64
_DETAIL_CHARACTERS = 200
_CHANGES_TOLD = 10
_END_OF_CALENDAR = 253_402_300_799_999  # the last millisecond of the year 9999
_BEGIN_OF_CALENDAR = -62_135_596_800_000


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """An address of the suppression list."""

    address: str


@dataclass(frozen=True, slots=True)
class SuppressRequest:
    """Entries to add to the suppression list or to replace there; at most `MAX_BATCH`. `by` is who
    does it, `bulk` the import that they are part of."""

    entries: tuple[SuppressionEntry, ...]
    by: str = ""
    bulk: int = 0


@dataclass(frozen=True, slots=True)
class AddressesRequest:
    """Addresses to take off the suppression list; at most `MAX_BATCH`."""

    addresses: tuple[str, ...]
    by: str = ""
    bulk: int = 0


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """An import begins: entries are added, or (`deleted`) taken off. `detail` says where from."""

    what: BulkKind
    detail: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Bulk:
    """An import under way, by the id that its parts name."""

    id: int


@dataclass(frozen=True, slots=True)
class BulkEnd:
    """An import is over; so many of its lines were not taken."""

    id: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class ChangesRequest:
    """The last changes, newest first: of an address, or of all where it is empty."""

    address: str = ""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class HoldsFor:
    """Whether an entry keeps mail of a configuration set from being sent, and why (a clause)."""

    configuration_set: str
    holds: bool
    why: str


@dataclass(frozen=True, slots=True)
class WhySuppressed:
    """All that is known of an address: its entry (None: it has none), whether that has not expired,
    for which configuration sets it holds, and the last changes, newest first."""

    address: str
    entry: SuppressionEntry | None
    in_force: bool
    sets: tuple[HoldsFor, ...]
    changes: tuple[SuppressionChange, ...]


def held_for(config: Config, entry: SuppressionEntry) -> tuple[HoldsFor, ...]:
    """For which configuration sets an entry in force holds, by name."""
    return tuple(
        HoldsFor(name, *_judge(config, name, entry)) for name in sorted(config.configuration_sets)
    )


def _judge(config: Config, name: str, entry: SuppressionEntry) -> tuple[bool, str]:
    own = config.configuration_sets[name].suppression
    holds = entry.reason in reasons_checked(own, config.suppression)
    if own is not None and not own:
        return holds, "its suppression is [], which lets all mail through"
    if entry.reason == "manual":
        return holds, "what operators add holds for every set that has suppression at all"
    named = ", ".join(config.suppression.reasons if own is None else own) or "none"
    of = "the account's" if own is None else "its own"
    return holds, f"{of} reasons are: {named}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionOperations:
    """`config` is the configuration in force, `clock` gives UTC milliseconds."""

    store: SuppressionStore
    config: Callable[[], Config]
    clock: Callable[[], int]

    async def add(self, request: SuppressRequest) -> Changed:
        """Add or replace; `count` is how many were new."""
        _bounded(request.entries)
        author = self._author(request.by, self.clock(), request.bulk)
        entries = [_checked(entry, author.by) for entry in request.entries]
        return Changed(await self.store.put(entries, author))

    async def remove(self, request: AddressesRequest) -> Changed:
        _bounded(request.addresses)
        author = self._author(request.by, self.clock(), request.bulk)
        return Changed(await self.store.remove(request.addresses, author))

    async def find(self, request: AddressRequest) -> SuppressionEntry:
        """The entry of an address that is in force."""
        entry = await self.store.find(request.address)
        if entry is None or not entry.is_in_force(self.clock()):
            raise Refused(f"{request.address} is not suppressed", "not_found")
        return entry

    async def why(self, request: AddressRequest) -> WhySuppressed:
        entry = await self.store.find(request.address)
        changes = await self.store.changes(request.address, _CHANGES_TOLD)
        in_force = entry is not None and entry.is_in_force(self.clock())
        return WhySuppressed(
            address=request.address,
            entry=entry,
            in_force=in_force,
            sets=held_for(self.config(), entry) if entry is not None and in_force else (),
            changes=tuple(changes),
        )

    def all(self) -> AsyncIterator[SuppressionEntry]:
        """In order of address, those that have expired too."""
        return self.store.all()

    async def count(self) -> list[SuppressionCount]:
        return await self.store.tally(self.clock())

    async def begin(self, request: BulkRequest) -> Bulk:
        author = self._author(request.by, self.clock(), 0)
        detail = printable_text(request.detail, _DETAIL_CHARACTERS)
        return Bulk(await self.store.begin(request.what, detail, author))

    async def end(self, request: BulkEnd) -> Changed:
        more = f"{request.skipped:,} lines were not taken" if request.skipped else ""
        await self.store.end(request.id, self.clock(), more)
        return Changed(1)

    async def changes(self, request: ChangesRequest) -> list[SuppressionChange]:
        if not 1 <= request.limit <= MOST_CHANGES_SHOWN:
            raise Refused(
                f"the limit of the log is from 1 to {MOST_CHANGES_SHOWN}, not {request.limit}"
            )
        return await self.store.changes(request.address, request.limit)

    def _author(self, by: str, now: int, bulk: int) -> Author:
        return Author(printable_text(by, _WHO_CHARACTERS) or "an operator", now, bulk)


def _checked(entry: SuppressionEntry, by: str) -> SuppressionEntry:
    """Raises `Refused`. Texts of any length become texts of a bounded one."""
    try:
        address = parse_mailbox(entry.address)
    except AddressError as error:
        raise Refused(f"{entry.address!r} is not an address: {error}") from None
    for time in (entry.created_at, entry.expires_at or 0, entry.seen_at):
        if not _BEGIN_OF_CALENDAR <= time <= _END_OF_CALENDAR:
            raise Refused(f"a time of {address} is not within the years 1 to 9999")
    if address == entry.address and entry.by == by and not _texts(entry) and not entry.bounces:
        return entry  # most of a long list, which nothing has to be done about
    return replace(
        entry,
        address=address,
        evidence=_encodable(entry.evidence)[:LONGEST_EVIDENCE],
        message_id=printable_text(entry.message_id, 200),
        remote_host=printable_text(entry.remote_host, 255),
        note=_encodable(entry.note)[:LONGEST_NOTE],
        by=printable_text(entry.by, _WHO_CHARACTERS) or by,
        bounces=max(0, min(entry.bounces, 1_000_000)),
    )


def _encodable(text: str) -> str:
    """Octets of a command line that are not UTF-8 become `?`."""
    return text.encode(errors="replace").decode()


def _texts(entry: SuppressionEntry) -> str:
    return entry.evidence or entry.note or entry.message_id or entry.remote_host


def _bounded(entries: Sequence[object]) -> None:
    if len(entries) > MAX_BATCH:
        raise Refused(f"{len(entries)} entries are more than {MAX_BATCH} in one request")

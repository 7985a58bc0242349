"""`relay store check` on PostgreSQL: what the server is set to, and what that means for mail.

The facts are asked for in a few questions; what is made of them is a pure function of `Facts`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from relay.store.findings import Checkup, Finding, TableSize
from relay.store.postgres import schema
from relay.store.postgres.errors import is_of_the_store, translate
from relay.store.postgres.place import Place
from relay.store.postgres.session import Session

_OLDEST_SERVER = 140_000
_CLOCK_GOOD = 1_000  # ms
_HELD_UP = 60  # seconds
_OUTBOX_LATE = 300  # seconds
_FULL = 0.8  # of max_connections
_WRAPAROUND = 1_500_000_000  # transactions; the server stops at two thousand million

_SERVER = """
    SELECT current_setting('server_version_num')::int AS version,
        current_setting('server_version') AS version_text,
        pg_is_in_recovery() AS is_standby,
        current_setting('fsync') = 'on' AS fsync,
        current_setting('full_page_writes') = 'on' AS full_page_writes,
        current_setting('synchronous_commit') AS synchronous_commit,
        current_setting('synchronous_standby_names') AS standby_names,
        current_setting('max_connections')::int AS most_sessions,
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS sessions,
        (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::bigint
            FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid())
            AS oldest_transaction,
        (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - prepared)), 0)::bigint
            FROM pg_prepared_xacts) AS oldest_prepared,
        (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS age,
        (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS is_encrypted,
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
"""
# Without the role pg_monitor the state of a standby is hidden, and only its being there is told.
_STANDBYS = (
    "SELECT coalesce(application_name, '?'), coalesce(sync_state, ''), coalesce(state, '')"
    " FROM pg_stat_replication ORDER BY 1"
)
_QUEUE = """
    SELECT (SELECT count(*) FROM relay.delivery WHERE state = 'quarantined') AS quarantined,
        (SELECT coalesce((extract(epoch FROM clock_timestamp()) * 1000)::bigint - min(at), 0)
            FROM (SELECT at FROM relay.outbox ORDER BY id LIMIT 1) AS first) AS outbox_age,
        (SELECT count(*) FROM (SELECT FROM relay.outbox LIMIT 100000) AS counted) AS outbox,
        (SELECT origin FROM relay.copying LIMIT 1) AS copying
"""
_SIZES = (
    "SELECT relname, pg_total_relation_size(oid), greatest(reltuples, 0)::bigint FROM pg_class"
    " WHERE relnamespace = 'relay'::regnamespace AND relkind = 'r'"
    " ORDER BY 2 DESC, 1 LIMIT 8"
)


@dataclass(frozen=True, slots=True)
class Standby:
    """A standby of the server; `sync` is empty where this user may not know it."""

    name: str
    sync: str
    state: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was asked of the server. Times are seconds, but for `clock_off` and `outbox_age`."""

    version: int
    version_text: str
    is_standby: bool
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    standby_names: str
    most_sessions: int
    sessions: int
    oldest_transaction: int
    oldest_prepared: int
    age: int
    is_encrypted: bool
    is_local: bool
    clock_off: int
    standbys: tuple[Standby, ...] = ()
    schema: int | None = None
    newest: int = 0
    quarantined: int = 0
    outbox: int = 0
    outbox_age: int = 0
    copying: str = ""


async def check(place: Place, *, is_local: bool, wall: Callable[[], float] = time.time) -> Checkup:
    """Look at the database at `place`. Raises StoreError where it cannot be reached."""
    session = await place.connect()
    try:
        facts = await _facts(session, is_local=is_local, wall=wall)
        sizes = await session.fetch(_SIZES) if facts.schema is not None else []
    except Exception as error:
        if not (is_of_the_store(error) or isinstance(error, TimeoutError)):
            raise
        raise translate(error, place) from error
    finally:
        session.terminate()
    return Checkup(str(place), tuple(judged(facts)), tuple(TableSize(*row) for row in sizes))


async def _facts(session: Session, *, is_local: bool, wall: Callable[[], float]) -> Facts:
    before = wall()
    row = await session.fetchrow(_SERVER)
    after = wall()
    assert row is not None
    known = dict(row)
    clock_off = known.pop("now") - round((before + after) / 2 * 1000)
    version = await schema.version_of(session)
    if version == len(schema.MIGRATIONS):
        queue = await session.fetchrow(_QUEUE)
        assert queue is not None
        known |= dict(queue)
        known["copying"] = known["copying"] or ""
    return Facts(
        **known,
        is_local=is_local,
        clock_off=clock_off,
        standbys=tuple(Standby(*row) for row in await session.fetch(_STANDBYS)),
        schema=version,
        newest=len(schema.MIGRATIONS),
    )


def judged(facts: Facts) -> Iterator[Finding]:
    """What the facts mean. Pure."""
    yield _server(facts)
    yield _tables(facts)
    yield _disk(facts)
    yield _standbys(facts)
    yield _way(facts)
    yield _sessions(facts)
    yield _clock(facts)
    yield _transactions(facts)
    yield _outbox(facts)
    yield _damage(facts)


def _server(facts: Facts) -> Finding:
    found = f"PostgreSQL {facts.version_text}"
    if facts.is_standby:
        return Finding(
            "server", f"{found}, a standby: it takes no writes", "bad",
            "have store.url name the primary, or all servers: the primary is used",
        )  # fmt: skip
    if facts.version < _OLDEST_SERVER:
        return Finding("server", found, "bad", "relay is made for PostgreSQL 14 and newer")
    if facts.age > _WRAPAROUND:
        return Finding(
            "server", f"{found}, {facts.age:,} transactions since it was last frozen", "bad",
            "autovacuum does not keep up: VACUUM FREEZE, before the server refuses to write",
        )  # fmt: skip
    return Finding("server", found)


def _tables(facts: Facts) -> Finding:
    if facts.copying:
        return Finding(
            "tables", f"a copy from {facts.copying} is not finished", "bad",
            f"relay store copy --from {facts.copying} --again",
        )  # fmt: skip
    if facts.schema is None:
        return Finding(
            "tables", "none yet", "warning", "relay serve makes them, and relay store migrate"
        )
    if facts.schema != facts.newest:
        return Finding(
            "tables", f"version {facts.schema}; this relay needs {facts.newest}", "bad",
            "relay store migrate" if facts.schema < facts.newest else "start the newer relay",
        )  # fmt: skip
    return Finding("tables", f"version {facts.schema}")


def _disk(facts: Facts) -> Finding:
    off = [
        name
        for name, on in (("fsync", facts.fsync), ("full_page_writes", facts.full_page_writes))
        if not on
    ]
    if off:
        return Finding(
            "disk", f"{' and '.join(off)} off: a crash of the server loses acknowledged mail",
            "bad", f"{', '.join(f'{name} = on' for name in off)} in postgresql.conf",
        )  # fmt: skip
    return Finding("disk", "fsync and full_page_writes are on")


def _standbys(facts: Facts) -> Finding:
    """What an acknowledged message survives."""
    names = ", ".join(standby.name for standby in facts.standbys)
    if facts.standby_names:
        if not facts.standbys:
            return Finding(
                "standby", f"synchronous_standby_names is {facts.standby_names}, and none is there",
                "bad", "commits wait until one is: no mail is taken",
            )  # fmt: skip
        return Finding(
            "standby",
            f"synchronous ({names}): a message that was acknowledged is on two machines"
            f" (synchronous_commit {facts.synchronous_commit})",
        )
    if facts.standbys:
        return Finding(
            "standby", f"asynchronous ({names}): failing over loses the mail of the last moments",
            "warning", "synchronous_standby_names = 'ANY 1 (*)'",
        )  # fmt: skip
    return Finding(
        "standby", "none: acknowledged mail is on the disk of one machine", "warning",
        "a synchronous standby, see docs/fleet.md",
    )  # fmt: skip


def _way(facts: Facts) -> Finding:
    if facts.is_encrypted:
        return Finding("way", "encrypted")
    if facts.is_local:
        return Finding("way", "not encrypted, on this machine")
    return Finding(
        "way", "not encrypted: mail and passwords cross the network in clear", "warning",
        "sslmode=verify-full&sslrootcert=FILE in store.url",
    )  # fmt: skip


def _sessions(facts: Facts) -> Finding:
    found = f"{facts.sessions} of {facts.most_sessions}"
    if facts.sessions > facts.most_sessions * _FULL:
        return Finding("sessions", found, "warning", "raise max_connections")
    return Finding("sessions", found)


def _clock(facts: Facts) -> Finding:
    """Leases go by the server's clock alone; times in messages and events are the nodes'."""
    off = abs(facts.clock_off)
    found = f"{off / 1000:.1f} s {'ahead of' if facts.clock_off > 0 else 'behind'} this machine's"
    if off > _CLOCK_GOOD:
        return Finding("clock", found, "warning", "synchronise both with NTP")
    return Finding("clock", "as this machine's")


def _transactions(facts: Facts) -> Finding:
    prepared = facts.oldest_prepared > facts.oldest_transaction
    oldest = max(facts.oldest_transaction, facts.oldest_prepared)
    what = "a prepared transaction" if prepared else "a transaction"
    if oldest > _HELD_UP:
        return Finding(
            "transactions", f"{what} that writes has been open for {oldest} s", "bad",
            "events wait for it, and nothing is swept: end it (pg_stat_activity,"
            " pg_prepared_xacts)",
        )  # fmt: skip
    return Finding("transactions", "none that writes is open for long")


def _outbox(facts: Facts) -> Finding:
    late = facts.outbox_age // 1000
    if facts.outbox and late > _OUTBOX_LATE:
        return Finding(
            "outbox", f"{facts.outbox:,} entries, the oldest of {late} s ago", "warning",
            "a node has to have the duty of the scribe: relay nodes",
        )  # fmt: skip
    return Finding("outbox", f"{facts.outbox:,} entries wait to be filed")


def _damage(facts: Facts) -> Finding:
    if facts.quarantined:
        return Finding(
            "damage", f"{facts.quarantined} deliveries in quarantine", "warning",
            "relay queue list: those that are quarantined",
        )  # fmt: skip
    return Finding("damage", "none that is known")

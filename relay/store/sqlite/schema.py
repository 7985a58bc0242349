"""The tables, their migrations, and how a connection to them is opened.

`MIGRATIONS[n]` takes a file from version n to n + 1; the version is SQLite's `user_version`. A file
of a newer version is refused, so that an older relay never writes what it does not understand.

Delivery ids are derived: `message.id * 2^20 + n`. The deliveries of a message are neighbours in the
primary key, so that "was this the last one?" needs no index of its own. `AUTOINCREMENT` keeps ids
from being used again: a late outcome can never meet a younger delivery.
"""

import os
import sqlite3
from pathlib import Path

from relay.store.interface import StoreUnavailable

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL UNIQUE,
        facts BLOB NOT NULL,               -- JSON, see codec.Facts
        ref TEXT,                          -- name of the spool file, where there is one
        header BLOB NOT NULL,
        body BLOB                          -- NULL where the body is a spool file
    );
    CREATE INDEX message_ref ON message (ref) WHERE ref IS NOT NULL;

    CREATE TABLE delivery (
        id INTEGER PRIMARY KEY,            -- message.id * 2^20 + n
        domain TEXT NOT NULL,
        state TEXT NOT NULL,               -- queued, held, quarantined
        due_at INTEGER NOT NULL,
        epoch INTEGER,                     -- claimed by this worker; NULL: free
        attempts INTEGER NOT NULL DEFAULT 0,
        configuration_set TEXT NOT NULL,
        accepted_at INTEGER NOT NULL,
        recipients BLOB NOT NULL,          -- JSON
        last_reply TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX delivery_due ON delivery (due_at) WHERE epoch IS NULL AND state = 'queued';

    CREATE TABLE worker (
        epoch INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        lease INTEGER NOT NULL,            -- ms a silent worker is waited for
        beat INTEGER NOT NULL DEFAULT 0    -- counts renewals
    );

    CREATE TABLE usage (
        key TEXT NOT NULL,
        bucket INTEGER NOT NULL,           -- minutes since the epoch
        used INTEGER NOT NULL,
        PRIMARY KEY (key, bucket)
    ) WITHOUT ROWID;

    CREATE TABLE suppression (
        key TEXT PRIMARY KEY,              -- address.suppression_key
        address TEXT NOT NULL,
        reason TEXT NOT NULL,
        source TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        evidence TEXT NOT NULL,
        expires_at INTEGER
    ) WITHOUT ROWID;

    CREATE TABLE secret (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        credential TEXT NOT NULL,
        salt BLOB NOT NULL,
        digest BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        revoked_at INTEGER
    );

    CREATE TABLE life (
        clean INTEGER NOT NULL             -- 1 while no relay has the file open for writing
    );
    INSERT INTO life VALUES (1);
    """,
    """
    -- Whose turn it is, line by line: a line is the mail of one configuration set to one domain.
    CREATE INDEX delivery_line ON delivery (configuration_set, domain, due_at)
        WHERE epoch IS NULL AND state = 'queued';
    CREATE INDEX delivery_set ON delivery (configuration_set, due_at)
        WHERE epoch IS NULL AND state = 'queued';

    -- When the message is too old, wherever it waits; held mail alone grows no older.
    ALTER TABLE delivery ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;
    UPDATE delivery SET expires_at = coalesce((
        SELECT json_extract(CAST(facts AS TEXT), '$.expires_at') FROM message
            WHERE message.id = delivery.id >> 20 AND json_valid(CAST(facts AS TEXT))), 0);
    CREATE INDEX delivery_expiry ON delivery (expires_at)
        WHERE epoch IS NULL AND state IN ('queued', 'suspended');

    -- A worker that has ended, while what it had claimed is being freed.
    ALTER TABLE worker ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;

    -- What operators have ordered to wait, and the deliveries that were set aside for it.
    CREATE TABLE suspension (
        key TEXT PRIMARY KEY,              -- kind:name
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        reason TEXT NOT NULL,
        made_by TEXT NOT NULL,
        since INTEGER NOT NULL,
        until INTEGER                      -- NULL: until it is resumed
    ) WITHOUT ROWID;
    ALTER TABLE delivery ADD COLUMN suspended_by TEXT;     -- key, where state is suspended
    CREATE INDEX delivery_suspended ON delivery (suspended_by) WHERE state = 'suspended';

    -- For what mail was put off without an attempt, see values.PutOff.
    ALTER TABLE delivery ADD COLUMN waits_for TEXT;
    CREATE INDEX delivery_waits ON delivery (waits_for) WHERE waits_for IS NOT NULL;

    -- How attempts went, also of messages that are gone. Ids grow with time and have no gaps.
    CREATE TABLE attempt (
        id INTEGER PRIMARY KEY,
        message_id TEXT NOT NULL,
        at INTEGER NOT NULL,
        told BLOB NOT NULL                 -- JSON, see values.Attempt
    );
    CREATE INDEX attempt_message ON attempt (message_id);

    ALTER TABLE delivery ADD COLUMN pool TEXT NOT NULL DEFAULT '';  -- moved to it; '': the set's

    -- Refusals that no rule knew, without what differs each time.
    CREATE TABLE unclassified (
        id INTEGER PRIMARY KEY,
        reply TEXT NOT NULL,
        phase TEXT NOT NULL,
        provider TEXT NOT NULL,            -- '': none that is known
        count INTEGER NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        example TEXT NOT NULL,             -- without addresses
        UNIQUE (reply, phase, provider)
    );
    CREATE INDEX unclassified_seen ON unclassified (last_seen);

    CREATE TABLE sts_policy (
        domain TEXT PRIMARY KEY,
        id TEXT NOT NULL,                  -- of the record when it was fetched
        mode TEXT NOT NULL,
        mx TEXT NOT NULL,                  -- patterns, a space between them
        max_age INTEGER NOT NULL,          -- seconds
        fetched_at INTEGER NOT NULL,
        used_at INTEGER NOT NULL           -- give or take a day
    ) WITHOUT ROWID;

    -- How TLS went (RFC 8460): sessions of one day and domain, by policy, failure, source and host.
    CREATE TABLE tls_tally (
        day INTEGER NOT NULL,              -- days since the epoch, UTC
        domain TEXT NOT NULL,              -- of the recipients, which is told
        policy_type TEXT NOT NULL,
        policy_domain TEXT NOT NULL,
        policy TEXT NOT NULL,              -- its strings, a line feed between them
        result TEXT NOT NULL,              -- '' for success, else the type of the failure
        detail TEXT NOT NULL,
        source TEXT NOT NULL,              -- our address; from here on '' for successes
        host TEXT NOT NULL,                -- of the MX
        address TEXT NOT NULL,             -- its address
        sessions INTEGER NOT NULL,
        PRIMARY KEY (day, domain, policy_type, policy_domain, policy, result, detail, source,
                     host, address)
    ) WITHOUT ROWID;

    CREATE TABLE tls_report (
        day INTEGER NOT NULL,
        domain TEXT NOT NULL,
        settled_at INTEGER NOT NULL,       -- sent, or found to be wanted by nobody
        result TEXT NOT NULL,
        PRIMARY KEY (day, domain)
    ) WITHOUT ROWID;

    CREATE TABLE warmup (
        address TEXT PRIMARY KEY,          -- of a source
        day INTEGER NOT NULL,
        day_began_at INTEGER NOT NULL,
        configured_at INTEGER NOT NULL,
        state TEXT NOT NULL                -- warming, paused, completed
    ) WITHOUT ROWID;
    """,
    """
    -- What happened, until the message log has it.
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,                -- sent, or another of outbox._KINDS
        told BLOB NOT NULL,                -- JSON: the facts of a message, else see happenings
        header BLOB,                       -- of a message
        suppressed BLOB                    -- JSON: its suppressed recipients, where there are some
    );

    -- What is queued already was accepted, too.
    INSERT INTO outbox (message_id, at, kind, told, header)
        SELECT message_id,
            CASE WHEN json_valid(CAST(facts AS TEXT))
                THEN coalesce(json_extract(CAST(facts AS TEXT), '$.accepted_at'), 0) ELSE 0 END,
            'sent', facts, substr(header, 1, 10241)
        FROM message ORDER BY id;

    -- By this name the message log knows the outbox: ids of another begin anew.
    CREATE TABLE outbox_name (
        name TEXT NOT NULL
    );
    INSERT INTO outbox_name VALUES (lower(hex(randomblob(8))));

    -- Streams whose new mail is refused, and from when on the reputation of dimensions counts.
    CREATE TABLE pause (
        kind TEXT NOT NULL,                -- set, credential
        name TEXT NOT NULL,
        reason TEXT NOT NULL,
        made_by TEXT NOT NULL,
        since INTEGER NOT NULL,
        PRIMARY KEY (kind, name)
    ) WITHOUT ROWID;

    CREATE TABLE fresh_start (
        dimension TEXT PRIMARY KEY,
        at INTEGER NOT NULL,
        sent INTEGER NOT NULL,             -- what its hour had had until then
        bounced INTEGER NOT NULL,
        complained INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- Reports that came in from outside: each counts once.
    CREATE TABLE heard (
        word TEXT PRIMARY KEY,
        at INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- The suppression list in the order in which it grew; mail is compared with the index of keys.
    ALTER TABLE suppression RENAME TO suppression_before;
    CREATE TABLE suppression (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,                 -- address.suppression_key
        address TEXT NOT NULL,             -- '': as the key
        reason TEXT NOT NULL,
        source TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        evidence TEXT NOT NULL,
        expires_at INTEGER,
        message_id TEXT NOT NULL,
        remote_host TEXT NOT NULL,
        seen_at INTEGER NOT NULL,
        made_by TEXT NOT NULL,             -- '': the relay
        note TEXT NOT NULL,
        bounces INTEGER NOT NULL
    );
    INSERT INTO suppression (key, address, reason, source, created_at, evidence, expires_at,
            message_id, remote_host, seen_at, made_by, note, bounces)
        SELECT key, CASE address WHEN key THEN '' ELSE address END, reason,
            CASE source WHEN 'bounce' THEN 'bounce' WHEN 'relay suppression import' THEN 'import'
                ELSE 'operator' END,
            created_at, evidence, expires_at, '', '', created_at, '', '', source = 'bounce'
        FROM suppression_before ORDER BY key;
    DROP TABLE suppression_before;
    CREATE UNIQUE INDEX suppression_key ON suppression (key);
    CREATE INDEX suppression_expiry ON suppression (expires_at) WHERE expires_at IS NOT NULL;

    CREATE TABLE suppression_count (
        number INTEGER NOT NULL
    );
    INSERT INTO suppression_count SELECT count(*) FROM suppression;

    -- Who changed the list, when and why. Ids grow with time and have no gaps.
    CREATE TABLE suppression_change (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,                 -- '': of many addresses
        at INTEGER NOT NULL,
        what TEXT NOT NULL,                -- suppression_values.ChangeKind
        made_by TEXT NOT NULL,
        address TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        entries INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        ended_at INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX suppression_change_key ON suppression_change (key, id) WHERE key <> '';
    """,
)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes. Raises sqlite3.Error, OSError or
    StoreUnavailable."""
    create_private(path)
    connection = sqlite3.connect(
        path, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    try:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise StoreUnavailable(
                f"{path} cannot use a write-ahead log (journal mode {mode}). Keep data_dir on a"
                " local file system."
            )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-32768")
        connection.execute("PRAGMA wal_autocheckpoint=2000")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.execute("PRAGMA temp_store=MEMORY")
    except (sqlite3.Error, StoreUnavailable):
        connection.close()
        raise
    return connection


def connect_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=5.0,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA query_only=1")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to the newest version, each step in its own transaction."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreUnavailable(
            f"The store has version {version}; this relay knows versions up to {len(MIGRATIONS)}. "
            "Start the newer relay that wrote it."
        )
    for number in range(version, len(MIGRATIONS)):
        connection.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version={number + 1}; COMMIT;"
        )


def create_private(path: Path) -> None:
    # SQLite gives its -wal and -shm files the mode of the database, so one file decides for all.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

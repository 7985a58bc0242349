"""`relay store check` on the embedded store: its files read through, whether or not a relay runs.

Blocks, for minutes where there is much. Raises StoreError where there is no store to look at.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from relay.store.findings import Checkup, Finding, TableSize
from relay.store.interface import StoreUnavailable
from relay.store.sqlite.errors import is_corrupt, primary_code, translate
from relay.store.sqlite.log.schema import MIGRATIONS as LOG_MIGRATIONS
from relay.store.sqlite.log.schema import NAME
from relay.store.sqlite.schema import MIGRATIONS, connect_reading

_FINDINGS = 5
_LITTLE_ROOM = 0.1  # of the file system


def check(data_dir: Path) -> Checkup:
    """Look at the store in `data_dir`."""
    if not (data_dir / "relay.db").is_file():
        raise StoreUnavailable(
            f"There is no store in {data_dir} yet: `relay serve` makes it when it starts."
        )
    findings: list[Finding] = []
    for name, newest in (("relay.db", len(MIGRATIONS)), (NAME, len(LOG_MIGRATIONS))):
        if (data_dir / name).is_file():
            findings += _file(data_dir / name, newest)
    findings += _queue(data_dir)
    findings.append(_room(data_dir))
    sizes = (
        *(TableSize(name, _size(data_dir / name), 0) for name in ("relay.db", NAME)),
        _spool(data_dir / "spool"),
    )
    return Checkup(str(data_dir), tuple(findings), sizes)


def _file(path: Path, newest: int) -> Iterator[Finding]:
    try:
        with closing(connect_reading(path)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > newest:
                yield Finding(
                    path.name, f"version {version}; this relay knows {newest}", "bad",
                    "start the newer relay",
                )  # fmt: skip
            found = [text for (text,) in db.execute(f"PRAGMA integrity_check({_FINDINGS})")]
    except sqlite3.DatabaseError as error:
        if not (is_corrupt(error) or primary_code(error) == sqlite3.SQLITE_NOTADB):
            raise translate(error, path.parent) from error
        found = [str(error)]
    if found == ["ok"]:
        yield Finding(path.name, "whole")
        return
    for text in found:
        yield Finding(path.name, text, "bad", f"sqlite3 {path} .recover")


def _queue(data_dir: Path) -> Iterator[Finding]:
    try:
        with closing(connect_reading(data_dir / "relay.db")) as db:
            (quarantined,) = db.execute(
                "SELECT count(*) FROM delivery WHERE state = 'quarantined'"
            ).fetchone()
            named = [ref for (ref,) in db.execute("SELECT ref FROM message WHERE ref IS NOT NULL")]
            # A body that has gone with its message since is not missed.
            missing = [
                ref
                for ref in named
                if not _body(data_dir, ref).is_file()
                and db.execute("SELECT 1 FROM message WHERE ref = ?", (ref,)).fetchone()
            ]
    except sqlite3.DatabaseError as error:
        yield Finding("queue", f"cannot be read through: {error}", "bad")
        return
    if quarantined:
        yield Finding(
            "damage", f"{quarantined} deliveries in quarantine", "warning",
            "relay queue list: those that are quarantined",
        )  # fmt: skip
    if missing:
        yield Finding(
            "bodies", f"{len(missing)} of {len(named)} are missing in spool", "bad",
            "their messages are set apart when they are due",
        )  # fmt: skip
    else:
        yield Finding("bodies", f"all {len(named)} that are files are there")


def _body(data_dir: Path, reference: str) -> Path:
    name = reference.partition("-")[0]
    return data_dir / "spool" / name[:2] / name


def _room(data_dir: Path) -> Finding:
    usage = shutil.disk_usage(data_dir)
    found = f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.1f} GB are free"
    if usage.free < usage.total * _LITTLE_ROOM:
        return Finding("room", found, "warning")
    return Finding("room", found)


def _size(path: Path) -> int:
    return sum(
        other.stat().st_size for other in (path, path.with_name(path.name + "-wal"))
        if other.is_file()
    )  # fmt: skip


def _spool(directory: Path) -> TableSize:
    octets = files = 0
    for above, _, names in os.walk(directory):
        for name in names:
            try:
                octets += os.stat(os.path.join(above, name)).st_size
            except FileNotFoundError:
                continue  # delivered meanwhile
            files += 1
    return TableSize("spool", octets, files)

"""The files of an embedded store, read while nobody has it open: the caller holds its lock.

Everything blocks: a copy has nothing else to do. Raises StoreError.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from relay.store.copying.tables import MESSAGES, UNFILED, File, Table, converted, octets_of
from relay.store.interface import StoreUnavailable
from relay.store.reading import BLOCK
from relay.store.sqlite.errors import translate
from relay.store.sqlite.log.schema import NAME, connect_log
from relay.store.sqlite.prepare import prepare
from relay.store.sqlite.schema import connect_reading
from relay.store.sqlite.spool import sync_directory

BATCH = 2_000
BATCH_OCTETS = 8_000_000
ASIDE = "copied"

Batch = list[tuple[Any, ...]]


class Source:
    """The store in `data_dir`, of the newest version, with every claim freed."""

    def __init__(self, data_dir: Path) -> None:
        if not (data_dir / "relay.db").is_file():
            aside = data_dir / ASIDE
            hint = f" There is one in {aside}." if (aside / "relay.db").is_file() else ""
            raise StoreUnavailable(f"There is no store in {data_dir}: no file relay.db.{hint}")
        self._data_dir = data_dir
        findings = prepare(data_dir)
        if findings:
            raise StoreUnavailable(
                f"The store in {data_dir} is damaged, and a copy would not be whole:"
                f" {findings[0]}. `relay store check` says more."
            )
        with ExitStack() as opened:
            try:
                self._files: dict[File, sqlite3.Connection] = {
                    "relay.db": connect_reading(data_dir / "relay.db")
                }
                opened.callback(self._files["relay.db"].close)
                if (data_dir / NAME).is_file():
                    connect_log(data_dir / NAME).close()  # brings it to the newest version
                    self._files["log.db"] = connect_reading(data_dir / NAME)
                    opened.callback(self._files["log.db"].close)
            except sqlite3.Error as error:
                raise translate(error, data_dir) from error
            self._opened = opened.pop_all()
        self._filed = self._filed_upto()

    def close(self) -> None:
        self._opened.close()

    def count(self, table: Table) -> int:
        """How many rows of it are to be copied."""
        return int(self._value(f"SELECT count(*) {self._from(table)}", table))

    def batches(self, table: Table) -> Iterator[Batch]:
        """Its rows, converted, in the order of its key, some at a time."""
        if table.file not in self._files:
            return
        columns, key = ", ".join(table.columns), ", ".join(table.key)
        batch: Batch = []
        octets = 0
        try:
            for row in self._files[table.file].execute(
                f"SELECT {columns} {self._from(table)} ORDER BY {key}"
            ):
                batch.append(converted(table, row))
                octets += octets_of(batch[-1])
                if len(batch) >= BATCH or octets >= BATCH_OCTETS:
                    yield batch
                    batch, octets = [], 0
        except sqlite3.Error as error:
            raise translate(error, self._data_dir) from error
        if batch:
            yield batch

    def last_given(self, table: Table) -> int:
        """The highest value of its identity that was ever given; 0 where there was none."""
        if table.file not in self._files:
            return 0
        highest = self._value(
            f"SELECT coalesce(max({table.identity}), 0) FROM {table.name}",  # noqa: S608
            table,
        )
        given = self._value(
            f"SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = '{table.name}'",  # noqa: S608
            table,
        )
        return max(int(highest), int(given))

    def bodies(self) -> list[str]:
        """The references of bodies that are files."""
        rows = self._files["relay.db"].execute(
            f"SELECT DISTINCT ref FROM {MESSAGES.name} WHERE ref IS NOT NULL ORDER BY ref"  # noqa: S608
        )
        return [ref for (ref,) in rows]

    def body(self, name: str) -> Iterator[bytes]:
        """The blocks of a body's file; none where it is missing."""
        try:
            with (self._data_dir / "spool" / name[:2] / name).open("rb") as file:
                while block := file.read(BLOCK):
                    yield block
        except FileNotFoundError:
            return
        except OSError as error:
            raise translate(error, self._data_dir) from error

    def put_aside(self) -> Path:
        """Move the store where no relay finds it: started upon it, one would send its mail again.
        Where it is now. Only after `close`."""
        aside = self._data_dir / ASIDE
        number = 1
        while aside.exists():
            number += 1
            aside = self._data_dir / f"{ASIDE}-{number}"
        try:
            aside.mkdir(mode=0o700)
            # The database first: whatever is interrupted after it, no relay serves the rest.
            for name in (
                "relay.db",
                "relay.db-wal",
                "relay.db-shm",
                NAME,
                f"{NAME}-wal",
                f"{NAME}-shm",
                "spool",
            ):
                if (self._data_dir / name).exists():
                    (self._data_dir / name).rename(aside / name)
            sync_directory(aside)
            sync_directory(self._data_dir)
        except OSError as error:
            raise translate(error, self._data_dir) from error
        return aside

    def _from(self, table: Table) -> str:
        if table is UNFILED:
            return f"FROM {table.name} WHERE id > {self._filed}"
        return f"FROM {table.name}"

    def _value(self, question: str, table: Table) -> Any:
        if table.file not in self._files:
            return 0
        try:
            (value,) = self._files[table.file].execute(question).fetchone()
        except sqlite3.Error as error:
            raise translate(error, self._data_dir) from error
        return value

    def _filed_upto(self) -> int:
        """Up to where the log has the outbox: nothing before is told to it again."""
        if "log.db" not in self._files:
            return 0
        try:
            (name,) = self._files["relay.db"].execute("SELECT name FROM outbox_name").fetchone()
            found = (
                self._files["log.db"]
                .execute("SELECT upto FROM filed WHERE outbox = ?", (name,))
                .fetchone()
            )
        except sqlite3.Error as error:
            raise translate(error, self._data_dir) from error
        return int(found[0]) if found else 0

"""`relay store`: the place where mail is kept; how it is set up, looked after and moved."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from relay.cli.desk import must_own
from relay.cli.failures import FAILED, OK, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import octets, plural, print_facts, print_json, print_table, say, warn
from relay.cli.place import find_config
from relay.cli.progress import progress
from relay.config.model import Config
from relay.signing.keys import KeyFileError
from relay.signing.return_path_keys import FILE_NAME, read_keys, text_of
from relay.store.findings import Checkup
from relay.store.sqlite import lock_data_dir
from relay.store.sqlite.checkup import check as check_embedded

if TYPE_CHECKING:
    from relay.store.copying import Copied
    from relay.store.postgres.place import Place as Database

app = App(
    name="store",
    help="Set up the database that relays share, look at the store, and move mail into it.",
    help_format="plaintext",
)

_SHOWN = 5


@app.command
def migrate(
    *,
    force: Annotated[
        bool,
        Parameter(help="Although relays of an older version use the database.", negative=""),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Make the tables in the database of store.url, or bring them to the newest version.

    It is one transaction: it happens whole or not at all. An embedded store needs no such command:
    `relay serve` does it when it starts.
    """
    settings = find_config(config).config()
    if settings.store.url is None:
        say("The store is in files of data_dir; `relay serve` brings them up to date by itself.")
        return OK
    database = _database(settings)  # first: it says what is missing
    from relay.store.postgres.migrating import migrate as work  # noqa: PLC0415 - optional

    before, now = asyncio.run(work(database, force=force))
    if as_json:
        print_json({"from": before, "to": now})
    elif before == now:
        say(f"The tables have version {now} already.")
    elif before:
        say(f"The tables were of version {before} and are of version {now} now.")
    else:
        say(f"The tables are made, of version {now}.")
    return OK


@app.command
def check(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Look at the store: whether it is whole, what a crash would cost, what takes room.

    It may be asked while relays run. Exits 1 where something is bad: usable for monitoring.
    """
    settings = find_config(config).config()
    if settings.store.url is None:
        must_own(settings.data_dir)
        checkup = check_embedded(settings.data_dir)
    else:
        database = _database(settings)
        from relay.store.postgres.checkup import check as work  # noqa: PLC0415 - optional

        checkup = asyncio.run(work(database, is_local=settings.store.is_local))
    if as_json:
        print_json({"ok": checkup.is_good, **_fields(checkup)})
    else:
        _report(checkup)
    return OK if checkup.is_good else FAILED


@app.command
def copy(
    *,
    source: Annotated[
        Path | None,
        Parameter(name="--from", help="The data_dir with the embedded store; default: our own."),
    ] = None,
    again: Annotated[
        bool,
        Parameter(
            help="Begin anew after a copy that was broken off: what it has left is removed.",
            negative="",
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Copy an embedded store into the empty database of store.url: queue, bodies, suppression list,
    message log and all the rest.

    No relay may run upon either. All of it is counted and compared at the end; then the files are
    moved to `copied` in their directory, so that no relay sends their mail again.
    """
    settings = find_config(config).config()
    if settings.store.url is None:
        raise CommandFailed("the configuration has no store.url to copy into")
    data_dir = (source or settings.data_dir).absolute()
    if not data_dir.is_dir():
        raise CommandFailed(f"there is no directory {data_dir}")
    must_own(data_dir)
    keys = _return_path_keys(data_dir)
    database = _database(settings)
    from relay.store.copying import copy_store  # noqa: PLC0415 - optional

    with lock_data_dir(data_dir), progress("copying", None, "rows") as bar:

        def advance(what: str, rows: int) -> None:
            bar.note(what)
            bar.advance(rows)

        copied = asyncio.run(
            copy_store(
                data_dir,
                database,
                again=again,
                return_path_keys=keys,
                total=bar.of,
                advance=advance,
            )
        )
    if as_json:
        print_json(copied)
    else:
        _tell(copied, str(database))
    return OK


def _return_path_keys(data_dir: Path) -> str:
    """By them bounces of mail that has left already are recognised; empty where there are none."""
    if not (data_dir / FILE_NAME).exists():
        return ""
    try:
        return text_of(read_keys(data_dir))
    except KeyFileError as error:
        raise CommandFailed(str(error)) from None


def _tell(copied: "Copied", database: str) -> None:
    rows = sum(copied.rows.values())
    say(
        f"{rows:,} rows and {plural(copied.bodies, 'large body')} are in"
        f" {database}, counted and compared: {plural(copied.rows['message'], 'message')} queued,"
        f" {plural(copied.rows['suppression'], 'address')} suppressed,"
        f" {plural(copied.rows['log_message'], 'message')} in the log."
    )
    if copied.damaged:
        warn(
            f"{plural(len(copied.damaged), 'body')} damaged in the files as well; what they"
            f" belong to is set apart when it is due: {', '.join(copied.damaged[:_SHOWN])}"
        )
    say(f"The files are in {copied.aside} now; remove them once you are satisfied.")


def _database(settings: Config) -> "Database":
    """Raises `CommandFailed` where the driver is not installed."""
    try:
        from relay.store.postgres.place import Place  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise CommandFailed(
            "store.url needs the package asyncpg: pip install 'relay[postgres]'"
        ) from error
    assert settings.store.url is not None
    return Place(settings.store.url, settings.store.password_file, "relay store")


def _fields(checkup: Checkup) -> dict[str, object]:
    return {"store": checkup.store, "findings": checkup.findings, "sizes": checkup.sizes}


def _report(checkup: Checkup) -> None:
    marks = {"good": "", "warning": "warning: ", "bad": "BAD: "}
    print_facts(
        [
            ("store", checkup.store),
            *(
                (
                    finding.about,
                    marks[finding.weight]
                    + finding.found
                    + (f" ({finding.advice})" if finding.advice else ""),
                )
                for finding in checkup.findings
            ),
        ]
    )
    if checkup.sizes:
        say()
        print_table(
            ["largest", "size", "rows"],
            [(size.name, octets(size.octets), f"{size.rows:,}") for size in checkup.sizes],
        )

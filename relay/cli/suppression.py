"""`relay suppression`: the addresses that are not sent to."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from relay.admin.control import (
    MAX_BATCH,
    AddressesRequest,
    AddressRequest,
    SuppressRequest,
    batches,
)
from relay.admin.endpoints import SUPPRESSION_ADD, SUPPRESSION_GET, SUPPRESSION_REMOVE
from relay.cli.desk import Desk, open_desk
from relay.cli.failures import FAILED, OK, USAGE, CommandFailed
from relay.cli.files import lines_of, peek, target
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import (
    moment,
    plural,
    print_facts,
    print_json,
    print_table,
    say,
    shown,
    utc_ms,
    warn,
)
from relay.cli.progress import Progress, progress
from relay.cli.suppression_files import (
    BadLine,
    Defaults,
    Format,
    csv_lines,
    format_of,
    json_lines,
    read_entries,
)
from relay.config.units import parse_duration
from relay.mail.address import AddressError, parse_mailbox
from relay.store.values import SuppressionEntry, SuppressionReason

app = App(
    name="suppression",
    help="Manage the list of addresses that are not sent to.",
    help_format="plaintext",
)

AddressArguments = Annotated[
    tuple[str, ...], Parameter(name="ADDRESS", help="Addresses.", negative="")
]
ReasonOption = Annotated[SuppressionReason, Parameter(name="--reason", help="Why.")]
FormatOption = Annotated[
    Literal["csv", "json"] | None,
    Parameter(name="--format", help="Default: by the file's name, else by its first line."),
]

_SOURCE = "relay suppression add"
_IMPORT_SOURCE = "relay suppression import"
_BAD_LINES_SHOWN = 20


@app.command
def add(
    addresses: AddressArguments,
    /,
    *,
    reason: ReasonOption = "manual",
    evidence: Annotated[str, Parameter(help="What shows it, for later readers.")] = "",
    expires_after: Annotated[str, Parameter(help="As 30d; default: never.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Add addresses. What was known of an address before is replaced."""
    now = utc_ms()
    expires_at = now + _milliseconds(expires_after) if expires_after else None
    entries = [
        SuppressionEntry(_address(text), reason, _SOURCE, now, evidence, expires_at)
        for text in _some(addresses)
    ]
    with open_desk(config) as desk:
        new = _add(desk, entries)
    if as_json:
        print_json({"new": new, "replaced": len(entries) - new})
    else:
        say(f"{plural(new, 'address')} added, {len(entries) - new} replaced")
    return OK


@app.command
def remove(
    addresses: AddressArguments,
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Take addresses off the list. Exits 1 when one of them was not on it."""
    wanted = tuple(_address(text) for text in _some(addresses))
    with open_desk(config) as desk:
        count = sum(
            desk.call(SUPPRESSION_REMOVE, AddressesRequest(part)).count for part in batches(wanted)
        )
    if as_json:
        print_json({"removed": count, "unknown": len(wanted) - count})
    else:
        say(f"{count} removed, {len(wanted) - count} not on the list")
    return OK if count == len(wanted) else FAILED


@app.command
def get(
    address: Annotated[str, Parameter(name="ADDRESS", help="An address.")],
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show why an address is suppressed. Exits 1 when it is not."""
    with open_desk(config) as desk:
        entry = desk.call(SUPPRESSION_GET, AddressRequest(_address(address)))
    if as_json:
        print_json(entry)
        return OK
    print_facts(
        [
            ("address", entry.address),
            ("reason", entry.reason),
            ("by", entry.source),
            ("since", moment(entry.created_at)),
            ("until", moment(entry.expires_at) if entry.expires_at else "removed"),
            ("evidence", entry.evidence),
        ]
    )
    return OK


@app.command(name="list")
def list_suppressions(
    *,
    reason: Annotated[
        SuppressionReason | None, Parameter(help="Only entries of this kind.")
    ] = None,
    domain: Annotated[str, Parameter(help="Only addresses of this domain.")] = "",
    limit: Annotated[int, Parameter(help="At most so many entries.")] = 1_000,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """List entries in order of address. `export` prints all of them."""
    with open_desk(config) as desk, desk.suppressions() as entries:
        wanted = (e for e in entries if _matches(e, reason, domain.lower()))
        found = list(itertools.islice(wanted, max(0, limit) + 1))
    more = len(found) > limit
    found = found[:limit]
    if as_json:
        print_json(found)
    elif not found:
        say("no address is suppressed")
    else:
        print_table(
            ("address", "reason", "since", "until", "by", "evidence"),
            [
                (
                    e.address,
                    e.reason,
                    moment(e.created_at),
                    moment(e.expires_at) if e.expires_at else "",
                    e.source,
                    e.evidence,
                )
                for e in found
            ],
        )
    if more:
        warn(f"only the first {limit} are shown; --limit shows more, `export` all")
    return OK


@app.command(name="import")
def import_list(
    file: Annotated[
        Path,
        Parameter(name="FILE", help="The file; `-` for standard input.", allow_leading_hyphen=True),
    ],
    /,
    *,
    file_format: FormatOption = None,
    reason: ReasonOption = "manual",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Import a CSV file (`address,reason`, or with a heading) or JSON lines.

    Lines that cannot be taken are reported with their number and skipped; then it exits 1. --reason
    is for lines that give none. An import that was cut off may simply be repeated.
    """
    defaults = Defaults(reason, _IMPORT_SOURCE, utc_ms())
    with lines_of(file) as (stream, size), open_desk(config) as desk:
        first, lines = peek(stream)
        form: Format = file_format or format_of(file.name, first)
        with progress("importing", size) as bar:
            counts = _import(desk, read_entries(bar.watch(lines), form, defaults), bar)
    taken, new, bad = counts
    if as_json:
        print_json({"new": new, "replaced": taken - new, "skipped": bad})
    else:
        say(f"{new:,} new, {taken - new:,} replaced, {bad:,} lines skipped")
    return FAILED if bad else OK


@app.command
def export(
    *,
    output: Annotated[Path | None, Parameter(help="Write here, not to standard output.")] = None,
    file_format: Annotated[
        Format | None, Parameter(name="--format", help="Default: by the file's name, else csv.")
    ] = None,
    config: ConfigOption = None,
) -> int:
    """Export the whole list as CSV or JSON lines, which `import` reads again."""
    form: Format = file_format or format_of(output.name if output else "", "")
    with open_desk(config) as desk, desk.suppressions() as entries, target(output) as stream:
        for line in csv_lines(entries) if form == "csv" else json_lines(entries):
            stream.write(line)
    return OK


def _import(
    desk: Desk, found: Iterable[SuppressionEntry | BadLine], bar: Progress
) -> tuple[int, int, int]:
    """Entries taken, of them new, and lines skipped."""
    taken = new = bad = 0
    batch: list[SuppressionEntry] = []
    for entry in found:
        if isinstance(entry, BadLine):
            bad += 1
            if bad <= _BAD_LINES_SHOWN:
                bar.say(f"line {entry.line}: {shown(entry.problem)}; skipped")
            continue
        batch.append(entry)
        if len(batch) == MAX_BATCH:
            new += _add(desk, batch)
            taken += len(batch)
            batch.clear()
    if bad > _BAD_LINES_SHOWN:
        bar.say(f"and {bad - _BAD_LINES_SHOWN:,} more lines are skipped")
    return taken + len(batch), new + _add(desk, batch), bad


def _add(desk: Desk, entries: list[SuppressionEntry]) -> int:
    return sum(desk.call(SUPPRESSION_ADD, SuppressRequest(part)).count for part in batches(entries))


def _matches(entry: SuppressionEntry, reason: SuppressionReason | None, domain: str) -> bool:
    return reason in (None, entry.reason) and (
        not domain or entry.address.lower().endswith(f"@{domain}")
    )


def _some(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not addresses:
        raise CommandFailed("give at least one address", USAGE)
    return addresses


def _address(text: str) -> str:
    try:
        return parse_mailbox(text)
    except AddressError as error:
        raise CommandFailed(f"{text!r} is not an address: {error}", USAGE) from None


def _milliseconds(text: str) -> int:
    try:
        return round(parse_duration(text) * 1000)
    except ValueError as error:
        raise CommandFailed(f"--expires-after {text!r}: {error}", USAGE) from None

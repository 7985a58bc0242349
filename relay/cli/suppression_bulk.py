"""`relay suppression import` and `export`: whole lists, from and to files.

An import goes to the relay in parts, between which mail has its turn. Lines are gathered and sorted
before: neighbours that go in together cost the store a fraction of what they cost one by one. Each
part is durable when it is answered; an import that was cut off may simply be repeated.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from relay.admin.control import MAX_BATCH
from relay.admin.endpoints import (
    SUPPRESSION_ADD,
    SUPPRESSION_BEGIN,
    SUPPRESSION_END,
    SUPPRESSION_REMOVE,
)
from relay.admin.suppression import AddressesRequest, BulkEnd, BulkRequest, SuppressRequest
from relay.cli.desk import Desk, open_desk
from relay.cli.failures import FAILED, OK, USAGE, CommandFailed
from relay.cli.files import lines_of, peek, target
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import print_json, say, shown, utc_ms
from relay.cli.progress import Progress, progress
from relay.cli.suppression_files import (
    BadLine,
    Defaults,
    ExportFormat,
    Format,
    csv_lines,
    format_of,
    json_lines,
    read_entries,
    ses_lines,
)
from relay.cli.who import who
from relay.mail.address import suppression_key
from relay.store.values import SuppressionEntry, SuppressionReason

RUN = 250_000
"""Lines that are sorted at a time, some 100 MB."""

_BAD_LINES_SHOWN = 20

FormatOption = Annotated[
    Literal["csv", "json"] | None,
    Parameter(name="--format", help="Default: by the file's name, else by its first line."),
]


@dataclass
class _Counts:
    """How an import goes: entries taken, of them new (or taken off), and lines skipped."""

    taken: int = 0
    changed: int = 0
    skipped: int = 0


def import_list(
    file: Annotated[
        Path,
        Parameter(name="FILE", help="The file; `-` for standard input.", allow_leading_hyphen=True),
    ],
    /,
    *,
    file_format: FormatOption = None,
    reason: Annotated[
        SuppressionReason, Parameter(help="Why, where a line does not say.")
    ] = "manual",
    note: Annotated[str, Parameter(help="For later readers of the entries.")] = "",
    delete: Annotated[
        bool, Parameter(help="Take the addresses off the list.", negative="")
    ] = False,
    strict: Annotated[
        bool, Parameter(help="Take nothing where a line cannot be taken.", negative="")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Import a CSV file (`address,reason`, or with a heading) or JSON lines, of ours or of SES's.

    Lines that cannot be taken are reported with their number and skipped; then it exits 1. With
    --strict they are looked for first, and nothing is taken where there is one. An import that was
    cut off may simply be repeated.
    """
    defaults = Defaults(reason, utc_ms(), who(), note)
    if strict:
        _must_be_good(file, file_format, defaults)
    counts = _Counts()
    with lines_of(file) as (stream, size), open_desk(config) as desk:
        first, lines = peek(stream)
        form: Format = file_format or format_of(file.name, first)
        kind: Literal["deleted", "imported"] = "deleted" if delete else "imported"
        name = "standard input" if str(file) == "-" else shown(file.name)
        bulk = desk.call(SUPPRESSION_BEGIN, BulkRequest(kind, f"from {name}", who())).id
        with progress("deleting" if delete else "importing", size) as bar:
            found = read_entries(bar.watch(lines), form, defaults)
            for run in _runs(_good(found, bar, counts)):
                for _ in _send(desk, run, bulk, counts, delete=delete):
                    bar.note(f"{counts.taken:,} taken")
            if counts.skipped > _BAD_LINES_SHOWN:
                bar.say(f"and {counts.skipped - _BAD_LINES_SHOWN:,} more lines are skipped")
        desk.call(SUPPRESSION_END, BulkEnd(bulk, counts.skipped))
    _tell(counts, delete=delete, as_json=as_json)
    return FAILED if counts.skipped else OK


def export(
    *,
    output: Annotated[Path | None, Parameter(help="Write here, not to standard output.")] = None,
    file_format: Annotated[
        ExportFormat | None,
        Parameter(name="--format", help="Default: by the file's name, else csv."),
    ] = None,
    expired: Annotated[
        bool, Parameter(help="Entries that have expired, too.", negative="")
    ] = False,
    config: ConfigOption = None,
) -> int:
    """Export the list as CSV or JSON lines, which `import` reads again, or as SES has it."""
    form: ExportFormat = file_format or format_of(output.name if output else "", "")
    now = utc_ms()
    with open_desk(config) as desk, desk.suppressions() as entries, target(output) as stream:
        wanted = (entry for entry in entries if expired or entry.is_in_force(now))
        for line in _lines(wanted, form):
            stream.write(line)
    return OK


def _lines(entries: Iterable[SuppressionEntry], form: ExportFormat) -> Iterator[str]:
    match form:
        case "csv":
            return csv_lines(entries)
        case "json":
            return json_lines(entries)
        case _:
            return ses_lines(entries, form)


def _must_be_good(file: Path, file_format: Format | None, defaults: Defaults) -> None:
    """Raises `CommandFailed` where a line cannot be taken."""
    if str(file) == "-":
        raise CommandFailed("--strict reads a file twice, which standard input is not for", USAGE)
    counts = _Counts()
    with lines_of(file) as (stream, size), progress("checking", size) as bar:
        first, lines = peek(stream)
        form: Format = file_format or format_of(file.name, first)
        for _ in _good(read_entries(bar.watch(lines), form, defaults), bar, counts):
            pass
    if counts.skipped:
        raise CommandFailed(f"{counts.skipped:,} lines cannot be taken; nothing was imported")


def _good(
    found: Iterable[SuppressionEntry | BadLine], bar: Progress, counts: _Counts
) -> Iterator[SuppressionEntry]:
    """The entries; of the other lines the first ones are reported."""
    for entry in found:
        if isinstance(entry, SuppressionEntry):
            yield entry
            continue
        counts.skipped += 1
        if counts.skipped <= _BAD_LINES_SHOWN:
            bar.say(f"line {entry.line}: {shown(entry.problem)}; skipped")


def _runs(entries: Iterable[SuppressionEntry]) -> Iterator[list[SuppressionEntry]]:
    """In runs, each in order of address; of two spellings of one the last comes last."""
    run: list[SuppressionEntry] = []
    for entry in entries:
        run.append(entry)
        if len(run) == RUN:
            yield sorted(run, key=_key)
            run = []
    if run:
        yield sorted(run, key=_key)


def _key(entry: SuppressionEntry) -> str:
    return suppression_key(entry.address)


def _send(
    desk: Desk, run: list[SuppressionEntry], bulk: int, counts: _Counts, *, delete: bool
) -> Iterator[None]:
    """In parts, which are durable one by one."""
    for start in range(0, len(run), MAX_BATCH):
        part = tuple(run[start : start + MAX_BATCH])
        if delete:
            addresses = tuple(entry.address for entry in part)
            answer = desk.call(SUPPRESSION_REMOVE, AddressesRequest(addresses, who(), bulk))
        else:
            answer = desk.call(SUPPRESSION_ADD, SuppressRequest(part, who(), bulk))
        counts.taken += len(part)
        counts.changed += answer.count
        yield


def _tell(counts: _Counts, *, delete: bool, as_json: bool) -> None:
    rest = counts.taken - counts.changed
    words = ("removed", "unknown") if delete else ("new", "replaced")
    if as_json:
        print_json({words[0]: counts.changed, words[1]: rest, "skipped": counts.skipped})
    else:
        other = "not on the list" if delete else "replaced"
        say(f"{counts.changed:,} {words[0]}, {rest:,} {other}, {counts.skipped:,} lines skipped")

"""Suppression lists as files: CSV (`address,reason`) and JSON lines, read and written.

Pure: lines in, entries and complaints out. What SES lists (`EmailAddress`, `Reason`,
`LastUpdateTime`) is read too, and what it takes in its import jobs (`address,REASON`, or
`{"emailAddress": …, "reason": …}`) is read and written. Lines are read one at a time, so that a
list of any length passes.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeGuard

import msgspec

from relay.mail.address import AddressError, parse_mailbox
from relay.store.values import SuppressionEntry, SuppressionReason, SuppressionSource

Format = Literal["csv", "json"]
ExportFormat = Literal["csv", "json", "ses-csv", "ses-json"]
CSV_COLUMNS = (
    "address",
    "reason",
    "source",
    "created_at",
    "expires_at",
    "evidence",
    "message_id",
    "remote_host",
    "seen_at",
    "by",
    "note",
    "bounces",
)
LONGEST_LINE = 10_000
LONGEST_TEXT = 500
_LONGEST_ID = 200
_LONGEST_NAME = 64
_DIGITS = 6

_ADDRESS = ("address", "emailaddress", "email_address", "email", "destination")
_PLAIN = frozenset((*_ADDRESS, "reason"))
_TIME = ("created_at", "lastupdatetime", "last_update_time", "time")
_REASONS: tuple[SuppressionReason, ...] = ("bounce", "complaint", "manual")
_SOURCES: tuple[SuppressionSource, ...] = ("bounce", "complaint", "operator", "import")
_SES_REASONS: dict[SuppressionReason, str] = {
    "bounce": "BOUNCE",
    "complaint": "COMPLAINT",
    "manual": "BOUNCE",  # SES has no third one
}


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is not taken, and why. Lines count from 1."""

    line: int
    problem: str


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an entry is given where its line says nothing."""

    reason: SuppressionReason
    now: int
    by: str = ""
    note: str = ""


class _Bad(ValueError):
    """Why a line is not taken."""


def format_of(name: str, first: str) -> Format:
    """The format of a file by its name, or else by its first line."""
    if name.lower().endswith((".json", ".jsonl", ".ndjson")):
        return "json"
    if name.lower().endswith((".csv", ".txt")):
        return "csv"
    return "json" if first.lstrip().startswith("{") else "csv"


def read_entries(
    lines: Iterable[str], form: Format, defaults: Defaults
) -> Iterator[SuppressionEntry | BadLine]:
    """One value for each line that is not empty, a comment (`#`) or a CSV heading."""
    columns: tuple[str, ...] = ("address", "reason")
    heading_may_come = form == "csv"
    for number, raw in enumerate(lines, 1):
        line = raw.strip().removeprefix("\ufeff")
        if not line or line.startswith("#"):
            continue
        try:
            if len(line) > LONGEST_LINE:
                raise _Bad(f"has more than {LONGEST_LINE} characters")
            if heading_may_come:
                heading_may_come = False
                if heading := _heading(line):
                    columns = heading
                    continue
            record = _json_record(line) if form == "json" else _csv_record(line, columns)
            yield _entry(record, defaults)
        except _Bad as error:
            yield BadLine(number, str(error))


def csv_lines(entries: Iterable[SuppressionEntry]) -> Iterator[str]:
    """A CSV file, heading first, each line with its end.

    A line is an entry: line ends and other controls within evidence become spaces.
    """
    yield _csv_line(CSV_COLUMNS)
    for entry in entries:
        yield _csv_line(
            (
                entry.address,
                entry.reason,
                entry.source,
                _iso(entry.created_at),
                _iso(entry.expires_at) if entry.expires_at is not None else "",
                entry.evidence,
                entry.message_id,
                entry.remote_host,
                _iso(entry.seen_at) if entry.seen_at else "",
                entry.by,
                entry.note,
                str(entry.bounces),
            )
        )


def json_lines(entries: Iterable[SuppressionEntry]) -> Iterator[str]:
    """JSON lines with the names of `CSV_COLUMNS`, each line with its end."""
    encoder = msgspec.json.Encoder()
    for entry in entries:
        yield encoder.encode({name: getattr(entry, name) for name in CSV_COLUMNS}).decode() + "\n"


def ses_lines(
    entries: Iterable[SuppressionEntry], form: Literal["ses-csv", "ses-json"]
) -> Iterator[str]:
    """What SES's import jobs take, each line with its end. SES has no `manual`: it is a bounce."""
    encoder = msgspec.json.Encoder()
    for entry in entries:
        reason = _SES_REASONS[entry.reason]
        if form == "ses-csv":
            yield _csv_line((entry.address, reason))
        else:
            line = encoder.encode({"emailAddress": entry.address, "reason": reason})
            yield line.decode() + "\n"


def _heading(line: str) -> tuple[str, ...] | None:
    """The names of the columns, where the line is a heading."""
    names = tuple(name.strip().lower() for name in _fields(line))
    return names if any(name in _ADDRESS for name in names) else None


def _fields(line: str) -> list[str]:
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except (csv.Error, StopIteration) as error:
        raise _Bad(f"is not CSV: {error}") from None


def _csv_record(line: str, columns: tuple[str, ...]) -> dict[str, object]:
    fields = _fields(line)
    if len(fields) > len(columns):
        raise _Bad(f"has {len(fields)} fields; there are {len(columns)}: {', '.join(columns)}")
    return dict(zip(columns, fields, strict=False))


def _json_record(line: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise _Bad("is not JSON") from None
    if not isinstance(record, dict):
        raise _Bad('is not a JSON object, as {"address": "a@b.example", "reason": "bounce"}')
    return {str(key).lower(): value for key, value in record.items()}


def _entry(record: Mapping[str, object], defaults: Defaults) -> SuppressionEntry:
    address = _first(record, _ADDRESS).strip()
    if not address:
        raise _Bad("has no address")
    try:
        address = parse_mailbox(address)
    except AddressError as error:
        raise _Bad(f"{address!r} is not an address: {error}") from None
    reason = _first(record, ("reason",)).strip().lower() or defaults.reason
    if not _is_reason(reason):
        raise _Bad(f"the reason {reason!r} is not one of {', '.join(_REASONS)}")
    if record.keys() <= _PLAIN:  # the common case, and much cheaper
        return SuppressionEntry(
            address, reason, "import", defaults.now, by=defaults.by, note=defaults.note
        )
    created_at = _time(record, _TIME)
    source = _first(record, ("source",)).strip().lower()
    return SuppressionEntry(
        address=address,
        reason=reason,
        source=source if _is_source(source) else "import",
        created_at=defaults.now if created_at is None else min(created_at, defaults.now),
        evidence=_text(record, "evidence", LONGEST_TEXT),
        expires_at=_time(record, ("expires_at",)),
        message_id=_text(record, "message_id", _LONGEST_ID),
        remote_host=_text(record, "remote_host", _LONGEST_ID),
        seen_at=min(_time(record, ("seen_at",)) or 0, defaults.now),
        by=_text(record, "by", _LONGEST_NAME) or defaults.by,
        note=_text(record, "note", LONGEST_TEXT) or defaults.note,
        bounces=_bounces(record),
    )


def _is_reason(text: str) -> TypeGuard[SuppressionReason]:
    return text in _REASONS


def _is_source(text: str) -> TypeGuard[SuppressionSource]:
    return text in _SOURCES


def _bounces(record: Mapping[str, object]) -> int:
    text = _first(record, ("bounces",)).strip() or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise _Bad(f"the count of bounces {text[:40]!r} is not a number from 0 to 999999")
    return int(text)


def _first(record: Mapping[str, object], names: tuple[str, ...]) -> str:
    for name in names:
        value = record.get(name)
        if value is not None:
            return str(value)
    return ""


def _text(record: Mapping[str, object], name: str, limit: int) -> str:
    """A text for people, whose octets that are not UTF-8 become `?`."""
    return _first(record, (name,)).encode(errors="replace").decode()[:limit]


def _time(record: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    """A time as UTC milliseconds or in ISO 8601 (UTC where no zone is given)."""
    text = _first(record, names).strip()
    if not text:
        return None
    try:
        if text.isascii() and text.isdigit():
            milliseconds = int(text)
        else:
            when = datetime.fromisoformat(text)
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
            milliseconds = round(when.timestamp() * 1000)
        datetime.fromtimestamp(milliseconds / 1000, UTC)  # of the calendar in our zone as well
        return milliseconds
    except (ValueError, OverflowError, OSError):
        raise _Bad(f"the time {text[:40]!r} is not as 2026-11-24T19:42:11Z") from None


def _iso(ms: int) -> str:
    return (
        datetime.fromtimestamp(ms / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def _csv_line(fields: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(_plain, fields))
    return line.getvalue()


def _plain(field: str) -> str:
    if field.isprintable():
        return field
    return "".join(c if c.isprintable() else " " for c in field)

"""What commands print: tables for people, JSON for programs. Nothing else writes to stdout.

Text that came from outside (a reply of a foreign server, an address, a header) is shown with its
control characters escaped, so that it cannot move the reader's cursor. The JSON is the values of
`relay.admin.control` and `relay.store.values` with their field names.

rich is imported when the first table is drawn, so that `relay serve` never loads it.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_SIZES = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"))
_PIPE_WIDTH = 400


def print_json(value: object) -> None:
    """One indented JSON document."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(text.decode() + "\n")


def print_json_line(value: object) -> None:
    """One JSON document in one line."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def say(text: str = "") -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(text + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table whose columns are as wide as they need; numbers are aligned to the right."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - see the module's docstring
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    written = [list(row) for row in rows]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(columns):
        is_number = bool(written) and all(isinstance(row[index], int) for row in written)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in written:
        table.add_row(*(Text(shown(cell)) for cell in row))
    terminal = sys.stdout.isatty()
    Console(width=None if terminal else _PIPE_WIDTH, highlight=False).print(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Names and values, one to a line, the values aligned. Empty values are left out."""
    lines = [(name, shown(value)) for name, value in facts if value not in ("", None, ())]
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        say(f"{name:<{width}}  {value}")


def shown(value: object) -> str:
    """Text as it may stand on a terminal: control and other unprintable characters escaped."""
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def utc_ms() -> int:
    """Now, as UTC milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def moment(ms: int) -> str:
    """UTC milliseconds as `2026-11-24 19:42:11Z`; empty for 0."""
    if not ms:
        return ""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def span(seconds: float) -> str:
    """A length of time by its two largest units, as `2h 5m`; `0s` for nothing."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0s"


def until(ms: int, now: int) -> str:
    """When something is due, as `now` or `in 5m 3s`."""
    return "now" if ms <= now else f"in {span((ms - now) / 1000)}"


def octets(size: int) -> str:
    """A size, as `40.1 MB`."""
    for scale, unit in _SIZES:
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"


def plural(count: int, noun: str) -> str:
    """`1 entry`, `2 entries`, `2 keys`, `3 addresses`."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"

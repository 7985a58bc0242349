"""Structured logs: JSON lines for machines, columns for a terminal.

Stages are given a `Logger`; every line about a message carries `message_id`. Passwords, AUTH lines
and bodies are never passed to it. Keys are the words of the configuration: configuration_set, pool,
source, identity, credential, recipient, reverse_path.

An event is one line: text from outside is escaped, so that it can neither end the line nor move a
terminal's cursor. A traceback has no values of variables in it, for some are secrets. Writing
raises nothing: where standard error is gone or full the line is dropped, and mail goes on.
"""

import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, Protocol, Self, TextIO

import msgspec

Level = Literal["debug", "info", "warning", "error"]
_SEVERITY: dict[Level, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLORS: dict[Level, str] = {"debug": "36", "info": "32", "warning": "33", "error": "31"}
_EVENT_WIDTH = 40

Render = Callable[[Level, str, Mapping[str, object]], str]


class Logger(Protocol):
    """What a stage may say. `event` is a fixed sentence; what varies goes into fields."""

    def bind(self, **fields: object) -> Self: ...
    def debug(self, event: str, **fields: object) -> None: ...
    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...
    def error(self, event: str, **fields: object) -> None: ...
    def exception(self, event: str, **fields: object) -> None: ...


def make_logger(
    style: Literal["json", "console"] = "json",
    level: Level = "info",
    stream: TextIO | None = None,
) -> Logger:
    """A logger that writes one line per event to `stream` (standard error by default)."""
    target = stream or sys.stderr
    render = render_json if style == "json" else console_renderer(colors=target.isatty())
    return LineLogger(target, _SEVERITY[level], render)


class LineLogger:
    """A `Logger` that writes lines. Safe to use from any thread: a line is one write."""

    __slots__ = ("_fields", "_least", "_render", "_stream")

    def __init__(
        self,
        stream: TextIO,
        least: int,
        render: Render,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        self._stream = stream
        self._least = least
        self._render = render
        self._fields = fields or {}

    def bind(self, **fields: object) -> Self:
        """A logger whose every line has these fields too."""
        return type(self)(self._stream, self._least, self._render, {**self._fields, **fields})

    def debug(self, event: str, **fields: object) -> None:
        if self._least <= 10:
            self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        if self._least <= 20:
            self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        if self._least <= 30:
            self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write("error", event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """An error with the traceback of the exception that is being handled."""
        self._write("error", event, {**fields, "exception": traceback.format_exc(limit=-20)})

    def _write(self, level: Level, event: str, fields: Mapping[str, object]) -> None:
        line = self._render(level, event, {**self._fields, **fields} if self._fields else fields)
        try:
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError):
            # A log that cannot be written has nowhere to say so; mail matters more than its log.
            return


_encoder = msgspec.json.Encoder(enc_hook=str)


def render_json(level: Level, event: str, fields: Mapping[str, object]) -> str:
    """One JSON object: `time`, `level`, `event`, then the fields in the order given."""
    record = {"time": _now(), "level": level, "event": event, **fields}
    try:
        octets = _encoder.encode(record)
    except (UnicodeError, TypeError, ValueError):
        # Lone surrogates, which stand for octets that are not UTF-8, or a key that is no text.
        octets = _encoder.encode({str(key): _encodable(value) for key, value in record.items()})
    return octets.decode() + "\n"


def _encodable(value: object) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()


def console_renderer(*, colors: bool) -> Render:
    """Columns for people: time, level, event, then `key=value`; a traceback on lines of its own."""

    def render(level: Level, event: str, fields: Mapping[str, object]) -> str:
        trace = fields.get("exception")
        pairs = " ".join(
            f"{key}={_shown(value)}" for key, value in fields.items() if key != "exception"
        )
        word = f"{level:<7}"
        if colors:
            word = f"\x1b[{_COLORS[level]}m{word}\x1b[0m"
        line = f"{_now()} {word} {_printable(event):<{_EVENT_WIDTH}} {pairs}".rstrip()
        return f"{line}\n{_indented(str(trace))}" if trace else f"{line}\n"

    return render


def _now() -> str:
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """Written once for all lines of that second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]


def _shown(value: object) -> str:
    """A value in one word: quoted where spaces or quotes would mislead."""
    text = _printable(value)
    return repr(text) if not text or any(c in text for c in " \"'=") else text


def _printable(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def _indented(trace: str) -> str:
    return "".join(f"    {_printable(line)}\n" for line in trace.splitlines())

"""Structured logs: JSON lines for machines, columns for a terminal.

Stages are given a `Logger`; every line about a message carries `message_id`. Passwords, AUTH lines
and bodies are never passed to it. Keys are the words of the configuration: configuration_set, pool,
source, identity, credential, recipient, reverse_path.
"""

import logging
import sys
from typing import Literal, Protocol, Self, TextIO

import structlog


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
    level: Literal["debug", "info", "warning", "error"] = "info",
    stream: TextIO | None = None,
) -> Logger:
    """A logger that writes one line per event to `stream` (standard error by default)."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty())
    )
    logger: Logger = structlog.wrap_logger(
        structlog.PrintLogger(stream or sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *([structlog.processors.format_exc_info] if style == "json" else []),
            renderer,
        ],
    )
    return logger

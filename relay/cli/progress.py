"""How far a long command is, on a terminal; nothing elsewhere."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from relay.cli.output import warn

Unit = Literal["octets", "rows"]


class Progress(Protocol):
    """Watches lines go by, and says things without disturbing the display. A note stands before
    the bar until the next one."""

    def watch(self, lines: Iterable[str]) -> Iterator[str]: ...

    def of(self, total: int) -> None:
        """Say how much there is in all, once that is known."""

    def advance(self, by: int) -> None: ...

    def note(self, text: str) -> None: ...

    def say(self, text: str) -> None: ...


class _Silent:
    def watch(self, lines: Iterable[str]) -> Iterator[str]:
        return iter(lines)

    def of(self, total: int) -> None:
        return None

    def advance(self, by: int) -> None:
        return None

    def note(self, text: str) -> None:
        return None

    def say(self, text: str) -> None:
        warn(text)


@contextmanager
def progress(title: str, total: int | None, unit: Unit = "octets") -> Iterator[Progress]:
    """A bar on standard error where that is a terminal. `total` in all; None: not known yet."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from relay.cli.progress_bar import bar  # noqa: PLC0415 - rich is loaded only when it draws

    with bar(title, total, unit) as shown:
        yield shown

"""The progress bar that `relay.cli.progress` draws on a terminal."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich import progress
from rich.console import Console
from rich.text import Text


class _Bar:
    def __init__(self, display: progress.Progress, task: progress.TaskID) -> None:
        self._display = display
        self._task = task

    def watch(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            # Octets are near enough: what is not ASCII is rare in addresses.
            self._display.advance(self._task, len(line))
            yield line

    def note(self, text: str) -> None:
        self._display.update(self._task, description=text)

    def say(self, text: str) -> None:
        self._display.console.print(Text(text))


@contextmanager
def bar(title: str, octets: int | None) -> Iterator[_Bar]:
    """A bar with the amount read, the speed and the time left, on standard error."""
    with progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as display:
        yield _Bar(display, display.add_task(title, total=octets))

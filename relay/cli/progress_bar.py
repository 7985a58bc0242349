"""The progress bar that `relay.cli.progress` draws on a terminal."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich import progress
from rich.console import Console
from rich.text import Text

from relay.cli.progress import Unit


class _Bar:
    def __init__(self, display: progress.Progress, task: progress.TaskID) -> None:
        self._display = display
        self._task = task

    def watch(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            # Octets are near enough: what is not ASCII is rare in addresses.
            self._display.advance(self._task, len(line))
            yield line

    def of(self, total: int) -> None:
        self._display.update(self._task, total=total)

    def advance(self, by: int) -> None:
        self._display.advance(self._task, by)

    def note(self, text: str) -> None:
        self._display.update(self._task, description=text)

    def say(self, text: str) -> None:
        self._display.console.print(Text(text))


@contextmanager
def bar(title: str, total: int | None, unit: Unit) -> Iterator[_Bar]:
    """A bar with the amount done, the speed where it is octets, and the time left, on standard
    error."""
    amount: tuple[progress.ProgressColumn, ...] = (
        (progress.DownloadColumn(), progress.TransferSpeedColumn())
        if unit == "octets"
        else (progress.MofNCompleteColumn(),)
    )
    with progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        *amount,
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as display:
        yield _Bar(display, display.add_task(title, total=total))

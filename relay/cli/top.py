"""`relay top`: what a running relay does, again and again.

On a terminal a view that renews itself until q or Ctrl-C; elsewhere a line each time.
"""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from relay.admin.client import Client
from relay.admin.endpoints import TOP, Nothing
from relay.admin.top import Look
from relay.cli.failures import OK, USAGE, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import print_json_line, print_table, say, shown
from relay.cli.place import find_config
from relay.cli.top_view import Sections, compared, headline, sections
from relay.config.units import parse_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHORTEST, _LONGEST = 0.5, 3600.0
_PAGE = 12  # rows of a section on a page without end


def top(
    *,
    interval: Annotated[str, Parameter(name="--interval", help="Between two looks, as 2s.")] = "2s",
    once: Annotated[
        bool, Parameter(name="--once", negative="", help="Look for one interval, print and end.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Watch a running relay: the queue, recipients per second accepted, delivered, deferred and
    bounced, by set, pool, source and provider; where mail waits; limits at their edge; slow-downs
    and suspensions.

    On a terminal it renews itself until q or Ctrl-C; elsewhere it prints a line each time, with
    --json a JSON document in each line.
    """
    seconds = _seconds(interval)
    client = Client(find_config(config).data_dir())
    if once or as_json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        _in_lines(client, seconds, once, as_json)
    else:
        _on_a_terminal(client, seconds)
    return OK


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise CommandFailed(f"--interval {text!r}: {error}", USAGE) from None
    if not _SHORTEST <= seconds <= _LONGEST:
        raise CommandFailed(f"--interval {text!r}: allowed is 500ms to 1h", USAGE)
    return seconds


def _look(client: Client) -> Look:
    return client.call(TOP, Nothing())


def _in_lines(client: Client, seconds: float, once: bool, as_json: bool) -> None:
    before = _look(client)
    while True:
        time.sleep(seconds)
        after = _look(client)
        if as_json:
            print_json_line(compared(before, after))
        elif once:
            _print(sections(before, after, _PAGE), headline(before, after))
        else:
            say(headline(before, after))
        sys.stdout.flush()
        if once:
            return
        before = after


def _print(found: Sections, head: str) -> None:
    say(head)
    for title, columns, rows in found:
        say()
        print_table((title, *columns[1:]), rows)


def _on_a_terminal(client: Client, seconds: float) -> None:
    from rich.live import Live  # noqa: PLC0415 - see `relay.cli.output`

    before = _look(client)
    with _unbuffered_keys(), Live(screen=True, auto_refresh=False) as live:
        live.update(_drawn((), "looking…"), refresh=True)
        while not _is_quit_pressed(seconds):
            after = _look(client)
            rows = max(3, (live.console.height - 4) // 4)
            live.update(
                _drawn(sections(before, after, rows), headline(before, after)), refresh=True
            )
            before = after


def _drawn(found: Sections, head: str) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    parts: list[RenderableType] = [Text(head, style="bold", no_wrap=True)]
    for title, columns, rows in found:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for index, name in enumerate((title, *columns[1:])):
            is_number = bool(rows) and all(_is_number(row[index]) for row in rows)
            table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(shown(cell)) for cell in row))
        parts += [Text(), table]
    parts += [Text(), Text("q ends", style="dim")]
    return Group(*parts)


def _is_number(cell: object) -> bool:
    return str(cell).replace(",", "").replace(".", "").isdigit()


@contextmanager
def _unbuffered_keys() -> Iterator[None]:
    """Keys come one by one, unechoed. The terminal is as it was at the end, whatever happens."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    except KeyboardInterrupt:
        return
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _is_quit_pressed(within: float) -> bool:
    """Wait so many seconds for a key; whether q was pressed, or no key will ever come."""
    deadline = time.monotonic() + within
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0]:
            keys = os.read(sys.stdin.fileno(), 64).lower()
            if not keys or b"q" in keys:
                return True
    return False

"""Files that a command line names: read line by line, or written whole or not at all.

`-` is standard input. Octets that are not UTF-8 become lone surrogates, so that they spoil their
line only. Fails with `CommandFailed`.
"""

import io
import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from relay.cli.failures import CommandFailed


@contextmanager
def lines_of(file: Path) -> Iterator[tuple[Iterator[str], int | None]]:
    """The lines of a file or of standard input, and the size of the file in octets."""
    if str(file) == "-":
        if isinstance(sys.stdin, io.TextIOWrapper):  # whose locale may have another opinion
            sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")
        yield sys.stdin, None
        return
    try:
        stream = file.open(encoding="utf-8", errors="surrogateescape", newline="")
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror}") from None
    with stream:
        yield stream, file.stat().st_size or None


def peek(lines: Iterator[str]) -> tuple[str, Iterator[str]]:
    """The first line, and all lines."""
    first = next(lines, "")
    return first, itertools.chain([first], lines)


@contextmanager
def target(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a new file that only its owner can read, complete or not at all."""
    if output is None:
        yield sys.stdout
        return
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                yield stream
            unfinished.replace(output)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise CommandFailed(f"cannot write {output}: {error.strerror}") from None

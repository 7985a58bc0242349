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

LONGEST_READ = 100_000  # characters


@contextmanager
def lines_of(file: Path) -> Iterator[tuple[Iterator[str], int | None]]:
    """The lines of a file or of standard input, and the size of the file in octets. Of a line
    that is longer than `LONGEST_READ` the rest is passed over: not every file has lines."""
    if str(file) == "-":
        if isinstance(sys.stdin, io.TextIOWrapper):  # whose locale may have another opinion
            sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")
        yield _bounded(sys.stdin), None
        return
    try:
        stream = file.open(encoding="utf-8", errors="surrogateescape", newline="")
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror}") from None
    with stream:
        yield _bounded(stream), file.stat().st_size or None


def _bounded(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(LONGEST_READ):
        yield line
        while len(line) == LONGEST_READ and line[-1] not in "\r\n":
            line = stream.readline(LONGEST_READ)


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

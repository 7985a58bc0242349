"""Where the control socket is, for both of its ends."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_NAME = "control.sock"
_LONGEST_PATH = 100


def control_socket(data_dir: Path) -> Path:
    """The socket's file."""
    return (data_dir / _NAME).absolute()


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for a Unix socket's `path` that fits into a socket address (108 octets on Linux)."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)

"""Files and directories that only their owner can read, whole or not there at all.

A file is written beside its place under another name, synced, and then moved: after a crash there
is the old one, the new one or none. Raises `OSError` (`FileExistsError` where a file must not be
replaced and is there).
"""

import os
import secrets
from pathlib import Path

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def make_private_directory(directory: Path) -> None:
    """Make a directory and its missing parents, 0700 each; one that exists is left as it is."""
    if directory.is_dir():
        return
    make_private_directory(directory.parent)
    directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    _sync_directory(directory.parent)


def write_private(path: Path, content: bytes, *, replace: bool) -> None:
    """Write `content` to `path`, 0600. Without `replace` a file of that name is kept."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)  # unlike a rename, it fails where the name is taken
    finally:
        temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

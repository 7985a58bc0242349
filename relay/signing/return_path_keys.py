"""The keys that authenticate return-paths: one file in the data directory, for its owner only.

`return-path.keys` has a line for each key, its number and 64 hexadecimal digits; the first line's
key makes new return-paths, the others are only recognised. The file is made when it is first needed
and replaced whole, so that a process that dies leaves the old one or the new one. Nodes of a fleet
have the same keys; the file of each is what it was told last.
"""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from relay.config.private_files import write_private
from relay.mail.verp import KEY_NUMBERS, SECRET_OCTETS, VerpKey
from relay.signing.keys import KeyFileError

FILE_NAME = "return-path.keys"
KEPT_AT_MOST = 4

_LINE = re.compile(r"([0-9]{1,2}) ([0-9a-f]{64})")
_LARGEST = 10_000
_ALLOWED = "allowed are lines with a number and 64 digits"


def load_or_make(data_dir: Path) -> tuple[VerpKey, ...]:
    """The keys, the one in use first; a new one where there is no file. Several processes may do
    this at once. Raises `KeyFileError`."""
    path = data_dir / FILE_NAME
    try:
        write_private(path, text_of([_new_key(())]).encode(), replace=False)
    except FileExistsError:
        pass
    except OSError as error:
        raise KeyFileError(f"cannot make {path}: {error.strerror}") from error
    return read_keys(data_dir)


def read_keys(data_dir: Path) -> tuple[VerpKey, ...]:
    """The keys, the one in use first. Raises `KeyFileError`."""
    path = data_dir / FILE_NAME
    try:
        with path.open("rb") as stream:
            found = keys_in(stream.read(_LARGEST).decode("ascii"))
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise KeyFileError(f"{path} is damaged: {_ALLOWED}") from error
    return found


def replace_keys(data_dir: Path, keys: Sequence[VerpKey]) -> None:
    """Have the file hold these. Raises `KeyFileError`."""
    path = data_dir / FILE_NAME
    try:
        write_private(path, text_of(keys).encode(), replace=True)
    except OSError as error:
        raise KeyFileError(f"cannot replace {path}: {error.strerror}") from error


def rotate(data_dir: Path) -> tuple[VerpKey, ...]:
    """Put a new key first, and keep the last three for return-paths that are under way.

    Raises `KeyFileError`.
    """
    keys = with_new_key(load_or_make(data_dir))
    replace_keys(data_dir, keys)
    return keys


def with_new_key(known: Sequence[VerpKey]) -> tuple[VerpKey, ...]:
    """A new one first, and the last three of those that are `known`."""
    return (_new_key(known), *known)[:KEPT_AT_MOST]


def keys_in(text: str) -> tuple[VerpKey, ...]:
    """The keys that lines name. Raises ValueError."""
    lines = text.splitlines()
    matches = [_LINE.fullmatch(line) for line in lines]
    found = [match for match in matches if match and int(match[1]) < KEY_NUMBERS]
    if not found or len(found) != len(matches) or len({match[1] for match in found}) != len(found):
        raise ValueError(_ALLOWED)
    return tuple(VerpKey(int(match[1]), bytes.fromhex(match[2])) for match in found)


def text_of(keys: Sequence[VerpKey]) -> str:
    """Their lines."""
    return "".join(f"{key.number} {key.secret.hex()}\n" for key in keys)


def _new_key(known: Sequence[VerpKey]) -> VerpKey:
    number = (known[0].number + 1) % KEY_NUMBERS if known else 0
    return VerpKey(number, secrets.token_bytes(SECRET_OCTETS))

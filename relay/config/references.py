"""`${env:NAME}` and `${file:path}`: values that stand outside the configuration file.

A reference is the whole of a value. A file is read relative to the configuration file, one line
end at its end is dropped. Whatever cannot be had becomes a problem at the place of the reference;
what was read is never part of a message.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from relay.config.document import Data, Document
from relay.config.problems import KeyPath, Problem

MAX_SECRET_SIZE = 64 * 1024

_REFERENCE = re.compile(r"\$\{(?P<kind>env|file):(?P<name>[^{}]+)\}")
_LOOKS_LIKE_ONE = re.compile(r"\$\{(?:env|file)\b")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The document with what its references mean; `broken` are those that could not be had."""

    document: Document = field(repr=False)
    problems: tuple[Problem, ...]
    broken: frozenset[KeyPath]


def resolve_references(document: Document, env: Mapping[str, str]) -> Resolved:
    """Replace every reference by its value. Raises nothing."""
    problems: list[Problem] = []
    broken: set[KeyPath] = set()

    def resolve(value: Data, path: KeyPath) -> Data:
        if isinstance(value, dict):
            return {name: resolve(entry, (*path, name)) for name, entry in value.items()}
        if isinstance(value, list):
            return [resolve(entry, (*path, i)) for i, entry in enumerate(value)]
        if not isinstance(value, str) or not _LOOKS_LIKE_ONE.search(value):
            return value
        try:
            return _value_of(value, document.file.parent, env)
        except ValueError as error:
            shown = document.show(path) if _REFERENCE.fullmatch(value) else "a broken reference"
            problems.append(document.problem(path, shown, hint=str(error)))
            broken.add(path)
            return value

    data = resolve(document.data, ())
    return Resolved(replace(document, data=data), tuple(problems), frozenset(broken))


def referenced_file(value: object, base: Path) -> Path | None:
    """The file that a `${file:…}` value names, or None."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match["kind"] != "file":
        return None
    return _file_named(match["name"], base)


def _file_named(name: str, base: Path) -> Path:
    return Path(os.path.normpath(base / os.path.expanduser(name)))


def _value_of(text: str, base: Path, env: Mapping[str, str]) -> str:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ValueError("a reference is the whole value: ${env:NAME} or ${file:path}")
    if match["kind"] == "env":
        name = match["name"]
        if name not in env:
            raise ValueError(f"the environment has no {name}")
        return _not_empty(env[name], "it is empty")
    file = _file_named(match["name"], base)
    try:
        with file.open("rb") as stream:
            octets = stream.read(MAX_SECRET_SIZE + 1)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    if len(octets) > MAX_SECRET_SIZE:
        raise ValueError(f"{file} is larger than {MAX_SECRET_SIZE:,} bytes")
    try:
        content = octets.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text") from error
    return _not_empty(content.removesuffix("\n").removesuffix("\r"), f"{file} is empty")


def _not_empty(value: str, otherwise: str) -> str:
    if not value:
        raise ValueError(otherwise)
    return value

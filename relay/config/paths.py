"""Paths of files as the configuration writes them: absolute once it is loaded."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    SerializationInfo,
    ValidationInfo,
)


def _path(value: object) -> object:
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise ValueError("allowed is a path")
    return value


def _absolute(path: Path, info: ValidationInfo) -> Path:
    """Relative to the directory that the loader names; as it is where there is no loader."""
    base = info.context.get("base") if info.context else None
    return Path(os.path.normpath(base / os.path.expanduser(path))) if base else path


def _told(path: Path, info: SerializationInfo) -> str:
    """Whole, or by its name alone where the directories are each machine's own."""
    return path.name if info.context and info.context.get("names_only") else str(path)


FilePath = Annotated[
    Path,
    BeforeValidator(_path),
    AfterValidator(_absolute),
    PlainSerializer(_told, return_type=str, when_used="json"),
]

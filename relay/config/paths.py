"""Paths of files as the configuration writes them: absolute once it is loaded."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ValidationInfo


def _path(value: object) -> object:
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise ValueError("allowed is a path")
    return value


def _absolute(path: Path, info: ValidationInfo) -> Path:
    """Relative to the directory that the loader names; as it is where there is no loader."""
    base = info.context.get("base") if info.context else None
    return Path(os.path.normpath(base / os.path.expanduser(path))) if base else path


FilePath = Annotated[Path, BeforeValidator(_path), AfterValidator(_absolute)]

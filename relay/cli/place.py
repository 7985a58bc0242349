"""Where the configuration is, and the data directory that it names.

A command that only talks to a running relay needs no more than the data directory: it works too
where the rest of the file has errors, or names secrets that only the daemon's environment has.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relay.cli.failures import CommandFailed
from relay.config.document import read_document
from relay.config.load import Loaded, load
from relay.config.model import Config

SYSTEM_CONFIG = Path("/etc/relay/relay.yaml")
LOCAL_CONFIG = Path("relay.yaml")
VARIABLE = "RELAY_CONFIG"


@dataclass(frozen=True, slots=True)
class Place:
    """A configuration file that exists (absolute)."""

    path: Path

    def load(self) -> Loaded:
        """The configuration and its document. Raises `ConfigErrors`."""
        return load(self.path)

    def config(self) -> Config:
        """The configuration. Raises `ConfigErrors`."""
        return self.load().config

    def data_dir(self) -> Path:
        """The data directory, though other keys of the file be wrong. Raises `ConfigErrors` for a
        file that is no YAML."""
        document = read_document(self.path)
        named = document.text(("data_dir",))
        if named is None or "${" in named:
            return self.config().data_dir
        return Path(os.path.normpath(self.path.parent / Path(named).expanduser()))


def find_config(given: Path | None, env: Mapping[str, str] = os.environ) -> Place:
    """The file that `--config`, `$RELAY_CONFIG` or a usual place gives, in this order."""
    if given is not None:
        return _existing(given, "--config")
    if env.get(VARIABLE):
        return _existing(Path(env[VARIABLE]), f"${VARIABLE}")
    for path in (LOCAL_CONFIG, SYSTEM_CONFIG):
        if _kind(path) == "file":
            return Place(path.absolute())
    raise CommandFailed(
        f"no configuration: neither --config nor ${VARIABLE} is given, and there is no "
        f"./{LOCAL_CONFIG} and no {SYSTEM_CONFIG}; `relay init DIR` writes a first one"
    )


def _existing(path: Path, source: str) -> Place:
    if _kind(path) == "directory":
        path = path / LOCAL_CONFIG
    match _kind(path):
        case "":
            raise CommandFailed(f"there is no file {path} (given by {source})")
        case "file":
            return Place(path.absolute())
    raise CommandFailed(f"{path} is not a regular file (given by {source})")


def _kind(path: Path) -> Literal["file", "directory", "other", ""]:
    """What is at `path`, `""` where nothing is. A place that this user may not look into is told
    as that, for most often the command is run as another user than the relay."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise CommandFailed(f"cannot look at {path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        return "directory"
    return "file" if stat.S_ISREG(mode) else "other"

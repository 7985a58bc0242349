"""What differs between two configurations, and which of it needs a restart.

Pure. A change is told by its key only, never by its value, so that secrets stay out of logs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from relay.config.model import Config
from relay.config.problems import KeyPath, key_text

# What a process takes up once, when it starts: the store's place and shape, the name under which
# it greets and signs its traces, and the sockets that are not the front end's.
_AT_START: tuple[KeyPath, ...] = (
    ("hostname",),
    ("data_dir",),
    ("store",),
    ("fleet",),
    ("metrics", "address"),
    ("logging",),
    ("simulator",),
    ("workers",),
)


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that was added, removed or altered; `live` where a reload applies it."""

    key: str
    live: bool


def changes(old: Config, new: Config) -> tuple[Change, ...]:
    """Every difference, in the order of the keys; nothing where both are equal."""
    return tuple(
        Change(key_text(path), live=not _is_at_start(path)) for path in _differences((), old, new)
    )


def needs_restart(old: Config, new: Config) -> tuple[str, ...]:
    """The keys whose new values a running relay cannot take up."""
    return tuple(change.key for change in changes(old, new) if not change.live)


def _is_at_start(path: KeyPath) -> bool:
    return any(path[: len(prefix)] == prefix for prefix in _AT_START)


def _differences(path: KeyPath, old: object, new: object) -> Iterator[KeyPath]:
    if old == new:
        return
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        for name in type(old).model_fields:
            yield from _differences((*path, name), getattr(old, name), getattr(new, name))
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            yield from _differences((*path, name), old.get(name), new.get(name))
    else:
        yield path

"""Problems of a configuration, told so that the reader can go to the place and mend it.

Pure values. A problem never carries a secret: those who make one pass what may be shown.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

KeyPath = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_MOST_COMPARED = 2_000  # comparing takes long, and a file can have many mistakes
_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (`error`) or looks wrong (`warning`), and where.

    `line` and `column` count from 1; 0 means that the place is not known. `key` is the key path,
    as `pools.main.sources[0].address`, empty for the file as a whole. `found` and `allowed` are
    phrases; `hint` is a question or a sentence.
    """

    file: str
    line: int
    column: int
    key: str
    found: str
    allowed: str = ""
    hint: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        text = f"{self.key}: {self.found}" if self.key else self.found
        if self.hint:
            text += f"; {self.hint}"
        if self.allowed:
            text += f"{' ' if text.endswith('?') else '; '}allowed: {self.allowed}"
        return place + ("warning: " if self.severity == "warning" else "") + text


class ConfigErrors(Exception):
    """A configuration that cannot be used, with all that is wrong with it, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(in_file_order(problems))
        super().__init__("\n".join(map(str, self.problems)))


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """By line and column, so that the reader goes through the file once."""
    return sorted(problems, key=lambda problem: (problem.line, problem.column, problem.key))


def key_text(path: KeyPath) -> str:
    """A key path as people read it: `listeners.main.address`, `identities."a.test".dkim[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _PLAIN_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{shown}" if text else shown
    return text


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is most like, or None where none is near."""
    known = list(known)
    if len(known) > _MOST_COMPARED:
        return None
    by_lower = {entry.lower(): entry for entry in known}
    near = get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that names the nearest known name, or nothing where none is near."""
    near = nearest(name, known)
    return f"did you mean {near}?" if near else ""


def listed(names: Iterable[str]) -> str:
    """Names in order, the first twenty of them."""
    ordered = sorted(names)
    more = len(ordered) - _MOST_LISTED
    return ", ".join(ordered[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")

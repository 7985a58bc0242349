"""A YAML file as plain data that remembers where each key and value stood.

The file is read event by event, not with a YAML loader, because every loader keeps the last of
two equal keys, follows aliases and guesses types. Here: equal keys, anchors, aliases, tags and
further documents are refused; every plain scalar stays the text that was written (`no`, `22:30`
and `010` too), except `true`, `false` and `null` of the YAML 1.2 core schema. Numbers are read
by whoever wants a number. The file is bounded in size and depth.

Raises `ConfigErrors` for what YAML cannot read, which comes alone since nothing after it is known,
and `FormErrors` for what is refused of its form, with the rest of the document to look further in.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from relay.config.problems import ConfigErrors, KeyPath, Problem, key_text

MAX_FILE_SIZE = 4_000_000
MAX_DEPTH = 20

Data = str | bool | None | dict[str, "Data"] | list["Data"]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
_SECRET_KEYS = frozenset({"password", "password_hashes", "secrets", "token"})
_MAY_HOLD_PASSWORD = frozenset({("store",), ("store", "url")})
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value and its key stand (from 1); an entry of a list is its own key."""

    line: int
    column: int
    key_line: int
    key_column: int


@dataclass(frozen=True, slots=True)
class Document:
    """`data` with the `places` of all it holds; `written` has each scalar as in the file.

    `elsewhere` names what other document a section stands in; none of a file by itself."""

    file: Path
    data: Data = field(repr=False)
    places: dict[KeyPath, Place] = field(repr=False)
    written: dict[KeyPath, str] = field(repr=False)
    elsewhere: Mapping[str, str] = field(default_factory=dict, repr=False)

    def problem(
        self,
        path: KeyPath,
        found: str,
        allowed: str = "",
        hint: str = "",
        *,
        at_key: bool = False,
        warning: bool = False,
    ) -> Problem:
        """A problem at the value of `path`, or its key; at the nearest parent if it is absent."""
        known = path
        while known and known not in self.places:
            known = known[:-1]
        place = self.places.get(known, Place(0, 0, 0, 0))
        use_key = at_key or known != path
        section = str(path[0]) if path else ""
        return Problem(
            self.elsewhere.get(section, str(self.file)),
            place.key_line if use_key else place.line,
            place.key_column if use_key else place.column,
            key_text(path),
            found,
            allowed,
            hint,
            "warning" if warning else "error",
        )

    def show(self, path: KeyPath) -> str:
        """The value of `path` as it may be shown: a secret is not."""
        value = self.at(path)
        if isinstance(value, dict):
            return "a mapping"
        if isinstance(value, list):
            return "a list"
        text = self.written.get(path, "")
        if (is_secret(path) or path in _MAY_HOLD_PASSWORD) and not text.startswith("${"):
            return "a secret (not shown)"
        if value is None:
            return "nothing"
        if isinstance(value, bool):
            return text
        return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…")

    def kind(self, path: KeyPath) -> str:
        """What sort of value stands at `path`, without the value."""
        value = self.at(path)
        if value is None or isinstance(value, dict | list):
            return self.show(path)
        return "true or false" if isinstance(value, bool) else "text"

    def at(self, path: KeyPath) -> Data:
        """The value at `path`; None where there is none."""
        value = self.data
        for part in path:
            if isinstance(value, dict) and isinstance(part, str):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def names(self, *path: str | int) -> list[str]:
        """The keys of the mapping at `path`; none where there is no mapping."""
        value = self.at(path)
        return list(value) if isinstance(value, dict) else []

    def entries(self, *path: str | int) -> list[KeyPath]:
        """The paths of the entries of the list at `path`; none where there is no list."""
        value = self.at(path)
        return [(*path, i) for i in range(len(value))] if isinstance(value, list) else []

    def text(self, path: KeyPath) -> str | None:
        """The text at `path`; None where there is none or something else."""
        value = self.at(path)
        return value if isinstance(value, str) else None


class FormErrors(ConfigErrors):
    """Equal keys, aliases and the like; `document` is what the file says without them."""

    def __init__(self, problems: Iterable[Problem], document: Document) -> None:
        super().__init__(problems)
        self.document = document


def is_secret(path: KeyPath) -> bool:
    """Whether the value at this path is never shown."""
    return not _SECRET_KEYS.isdisjoint(path[-2:])


def read_document(file: Path) -> Document:
    """Read and parse one file; raises `ConfigErrors` with every problem of its form."""
    try:
        with file.open("rb") as stream:
            octets = stream.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise ConfigErrors([_of_file(file, f"cannot be read: {error.strerror}")]) from error
    if len(octets) > MAX_FILE_SIZE:
        raise ConfigErrors([_of_file(file, f"is larger than {MAX_FILE_SIZE:,} bytes")])
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(octets, error.start)
        raise ConfigErrors(
            [Problem(str(file), line, column, "", "bytes that are not UTF-8")]
        ) from error
    return parse_document(text, file)


def parse_document(text: str, file: Path) -> Document:
    """Parse YAML text; `file` is for messages. Raises `ConfigErrors`."""
    reader = _Reader(text, file)
    try:
        document = reader.document()
    except yaml.reader.ReaderError as error:
        line, column = _position(text.encode(), error.position)
        raise ConfigErrors([Problem(str(file), line, column, "", str(error.reason))]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        said = ", ".join(part for part in (error.context, error.problem) if part)
        problem = Problem(str(file), line, column, "", f"is not YAML: {said}")
        raise ConfigErrors([*reader.problems, problem]) from error
    if reader.problems:
        raise FormErrors(reader.problems, document)
    return document


class _Reader:
    """Builds a document from YAML events, noting problems on the way."""

    def __init__(self, text: str, file: Path) -> None:
        self._file = file
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=_LOADER))
        self._document = Document(file, {}, {}, {})
        self.problems: list[Problem] = []

    def document(self) -> Document:
        data: Data = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                first = next(self._events)
                if documents == 1:
                    data = self._value(first, (), first)
                else:
                    self._refuse(event, (), "a second document", "one document in a file")
                    self._read_past(first, (), first)
        if not self.problems and not isinstance(data, dict):
            found = "an empty file" if data is None else "no keys"
            self.problems.append(
                Problem(str(self._file), 1, 1, "", found, "a mapping, as in relay.example.yaml")
            )
        return Document(self._file, data, self._document.places, self._document.written)

    def _value(self, event: yaml.Event, path: KeyPath, key: yaml.Event) -> Data:
        if len(path) > MAX_DEPTH:
            problem = self._problem(event, path[:3], f"is nested more than {MAX_DEPTH} deep")
            raise ConfigErrors([*self.problems, problem])
        self._refuse_features(event, path)
        self._document.places[path] = Place(*_mark(event), *_mark(key))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        if not isinstance(event, yaml.ScalarEvent):
            return None
        self._document.written[path] = event.value
        plain = event.style in (None, "") and event.tag is None
        return _CONSTANTS.get(event.value, event.value) if plain else str(event.value)

    def _mapping(self, path: KeyPath) -> Data:
        mapping: dict[str, Data] = {}
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                if isinstance(key, yaml.AliasEvent):
                    self._refuse_features(key, path)
                else:
                    self._refuse(key, path, "a key that is a list or a mapping", "keys are text")
                    self._value(key, (*path, "?"), key)
                self._value(next(self._events), (*path, "?"), key)
                continue
            self._refuse_features(key, path)
            name = str(key.value)
            child = (*path, name)
            if name in mapping:
                first = self._document.places[child]
                self._refuse(
                    key, child, f"is given twice, first in line {first.key_line}", "each key once"
                )
                self._read_past(next(self._events), child, key)
                continue
            mapping[name] = self._value(next(self._events), child, key)
        return mapping

    def _read_past(self, event: yaml.Event, path: KeyPath, key: yaml.Event) -> None:
        """Read a value for its problems only: what stood at `path` before keeps its place."""
        kept = self._document.places.copy(), self._document.written.copy()
        self._value(event, path, key)
        self._document.places.update(kept[0])
        self._document.written.update(kept[1])

    def _sequence(self, path: KeyPath) -> Data:
        entries: list[Data] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            entries.append(self._value(event, (*path, len(entries)), event))
        return entries

    def _refuse_features(self, event: yaml.Event, path: KeyPath) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._refuse(
                event, path, "a YAML anchor or alias", "plain values; quote text with & or *"
            )
        elif getattr(event, "tag", None):
            self._refuse(event, path, "a YAML tag", "plain values; quote text that begins with !")

    def _refuse(self, event: yaml.Event, path: KeyPath, found: str, allowed: str) -> None:
        self.problems.append(self._problem(event, path, found, allowed))

    def _problem(self, event: yaml.Event, path: KeyPath, found: str, allowed: str = "") -> Problem:
        return Problem(str(self._file), *_mark(event), key_text(path), found, allowed)


def _mark(event: yaml.Event) -> tuple[int, int]:
    """Line and column (from 1) where an event begins."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


def _of_file(file: Path, found: str) -> Problem:
    return Problem(str(file), 0, 0, "", found)


def _position(octets: bytes, offset: int) -> tuple[int, int]:
    """Line and column (from 1, in characters) of a byte offset."""
    before = octets[:offset]
    line_start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[line_start:].decode("utf-8", "replace")) + 1

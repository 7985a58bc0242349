"""What destinations of events ask of each other, and of this machine."""

import os
import ssl
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from relay.config.document import Document
from relay.config.events import KafkaTopic, NatsStream
from relay.config.model import Config
from relay.config.problems import KeyPath, Problem

_CLIENTS = {"nats": "nats", "kafka": "aiokafka"}
_AUTHORITIES = "PEM with the certificates of authorities"


def check_destinations(document: Document) -> Iterator[Problem]:
    """Two destinations that would write one file, each cutting off what the other has begun, and
    one that would write, and cut, what the relay keeps."""
    data_dir = _absolute(document, ("data_dir",))
    seen: dict[Path, str] = {}
    for name in document.names("events"):
        path: KeyPath = ("events", name, "path")
        file = _absolute(document, path)
        if file is None:
            continue
        if data_dir is not None and (file.parent == data_dir or data_dir / "spool" in file.parents):
            yield document.problem(
                path,
                f"{document.show(path)} is where the relay keeps its own files",
                "a file in another directory, as events/archive.jsonl",
            )
        other = seen.get(file) or _rotated_of(file, seen)
        if other is not None:
            yield document.problem(
                path,
                f"{document.show(path)} is the file of {other} too",
                "a file of its own",
            )
        seen.setdefault(file, name)


def _absolute(document: Document, path: KeyPath) -> Path | None:
    """The path that is written there, as `FilePath` reads it."""
    written = document.text(path)
    if not written or "\0" in written:
        return None
    return Path(os.path.normpath(document.file.absolute().parent / os.path.expanduser(written)))


def _rotated_of(file: Path, seen: Mapping[Path, str]) -> str | None:
    """The destination whose older files have such a name."""
    stem, dot, number = file.name.rpartition(".")
    return seen.get(file.with_name(stem)) if dot and stem and number.isdigit() else None


def destination_problems(config: Config, document: Document) -> Iterator[Problem]:
    """Clients that are not installed, authorities that cannot be read, destinations that no set
    lists: each of them is told nothing, and the mail goes on."""
    listed = {name for of in config.configuration_sets.values() for name in of.events}
    for name, destination in config.events.items():
        path: KeyPath = ("events", name)
        if name not in listed:
            yield document.problem(
                path,
                "no configuration set lists it",
                hint="it is told nothing",
                at_key=True,
                warning=True,
            )
        if isinstance(destination, NatsStream | KafkaTopic):
            kind = destination.type
            if find_spec(_CLIENTS[kind]) is None:
                yield document.problem(
                    (*path, "type"),
                    f"the client of {kind} is not installed",
                    hint=f"pip install 'relay[{kind}]'",
                    warning=True,
                )
        authorities = getattr(destination, "ca", None)
        if authorities is not None:
            try:
                ssl.create_default_context(cafile=authorities)
            except OSError as error:
                reason = error.strerror or str(error)
                yield document.problem(
                    (*path, "ca"), f"{authorities}: {reason}", _AUTHORITIES, warning=True
                )

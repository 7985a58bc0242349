"""What destinations of events ask of each other, and of this machine."""

import ssl
from collections.abc import Iterator
from importlib.util import find_spec

from relay.config.document import Document
from relay.config.events import KafkaTopic, NatsStream
from relay.config.model import Config
from relay.config.problems import KeyPath, Problem

_CLIENTS = {"nats": "nats", "kafka": "aiokafka"}
_AUTHORITIES = "PEM with the certificates of authorities"


def check_destinations(document: Document) -> Iterator[Problem]:
    """Two destinations that would write one file, each cutting off what the other has begun."""
    seen: dict[str, str] = {}
    for name in document.names("events"):
        path: KeyPath = ("events", name, "path")
        written = document.text(path)
        if written is None:
            continue
        if written in seen:
            yield document.problem(
                path,
                f"{document.show(path)} is the file of {seen[written]} too",
                "a file of its own",
            )
        seen.setdefault(written, name)


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

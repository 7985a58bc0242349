"""The part of a configuration that nodes of a fleet share, and how a node takes it up.

What is published is YAML of the common sections as they were written: references stay references,
paths stay relative, to each node's own file. A node puts the two together into one document, which
the ordinary loader reads; problems name the document that they are in. Pure.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from relay.config.common import OWN
from relay.config.document import Data, Document, is_secret, parse_document
from relay.config.model import Config
from relay.config.passwords import is_hash
from relay.config.problems import ConfigErrors, KeyPath, key_text

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_NOT_SHOWN = "(not shown)"
_NOWHERE = Path("published")


def common_text(document: Document) -> str:
    """The common sections of a file, as YAML to be published. Raises `ConfigErrors` where one holds
    a password in plain text: that would be stored where others read it."""
    shared = _common(document.data)
    problems = [
        document.problem(
            path,
            "a secret in plain text",
            "${file:path} or ${env:NAME}, which each node looks up by itself, or a hash",
        )
        for path in _plain_secrets(shared, ())
    ]
    if problems:
        raise ConfigErrors(problems)
    return _yaml(shared)


def merged(own: Document, text: str, epoch: int) -> Document:
    """A node's own sections with the published ones. Raises `ConfigErrors` where `text` is no
    YAML, as that of a newer release might be."""
    title = called(epoch)
    published = parse_document(text, own.file.parent / title)
    common = _common(published.data)
    kept = {name: value for name, value in _mapping(own.data).items() if name in OWN}
    return replace(
        own,
        data={**kept, **common},
        places={
            **{path: place for path, place in own.places.items() if not path or path[0] in OWN},
            **{path: place for path, place in published.places.items() if path},
        },
        written={
            **{path: word for path, word in own.written.items() if path and path[0] in OWN},
            **published.written,
        },
        elsewhere=dict.fromkeys((Config.model_fields.keys() | common.keys()) - OWN, title),
    )


def called(epoch: int) -> str:
    """What problems call the published configuration."""
    return f"the published configuration, epoch {epoch}"


def differing_keys(own: Document, text: str) -> tuple[str, ...]:
    """The keys of the common sections that a file has otherwise than the published configuration,
    in order: only names, and as they are written, so that `60s` differs from `1m`. Raises
    `ConfigErrors` where `text` is no YAML."""
    published = parse_document(text, own.file)
    return tuple(map(key_text, _differences((), _common(own.data), _common(published.data))))


def without_secrets(text: str) -> str:
    """A published configuration as it may be shown: hashes of passwords are not."""

    def shown(value: Data, path: KeyPath) -> Data:
        if isinstance(value, dict):
            return {name: shown(entry, (*path, name)) for name, entry in value.items()}
        if isinstance(value, list):
            return [shown(entry, (*path, index)) for index, entry in enumerate(value)]
        hidden = isinstance(value, str) and is_secret(path) and not value.startswith("${")
        return _NOT_SHOWN if hidden else value

    try:
        document = parse_document(text, _NOWHERE)
    except ConfigErrors:
        return _NOT_SHOWN + "\n"
    return _yaml(shown(document.data, ()))


def _common(data: Data) -> dict[str, Data]:
    return {name: value for name, value in _mapping(data).items() if name not in OWN}


def _mapping(data: Data) -> dict[str, Data]:
    return data if isinstance(data, dict) else {}


def _plain_secrets(value: Data, path: KeyPath) -> Iterator[KeyPath]:
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _plain_secrets(entry, (*path, name))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _plain_secrets(entry, (*path, index))
    elif isinstance(value, str) and is_secret(path) and not _may_be_stored(value):
        yield path


def _may_be_stored(secret: str) -> bool:
    return secret.startswith("${") or is_hash(secret)


def _differences(path: KeyPath, one: Data, other: Data) -> Iterator[KeyPath]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            if name in one and name in other:
                yield from _differences((*path, name), one[name], other[name])
            else:
                yield (*path, name)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (entry, its) in enumerate(zip(one, other, strict=True)):
            yield from _differences((*path, index), entry, its)
    elif one != other:
        yield path


def _yaml(data: Data) -> str:
    # What is quoted in the file is quoted here where it would else be true, false or nothing.
    text: str = yaml.dump(
        data, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    return text

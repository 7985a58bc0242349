"""Load a configuration file, whole or not at all.

`load` reads the YAML with its positions, puts in what `${env:…}` and `${file:…}` name, validates
every key and checks keys against each other. It changes nothing and keeps nothing. It fails with
`ConfigErrors`, which holds every problem, not only the first.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relay.config.crosscheck import cross_check
from relay.config.document import Document, FormErrors, read_document
from relay.config.model import Config
from relay.config.problems import ConfigErrors, Problem
from relay.config.references import resolve_references
from relay.config.validation import validate

__all__ = ["ConfigErrors", "Loaded", "Problem", "load", "load_config", "load_document"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and the document it came from, which knows the place of each key.

    The document is as written: references are not replaced in it.
    """

    config: Config = field(repr=False)
    document: Document


def load_config(path: Path, env: Mapping[str, str] = os.environ) -> Config:
    """The configuration in the file `path`; raises `ConfigErrors` with all that is wrong."""
    return load(path, env).config


def load(path: Path, env: Mapping[str, str] = os.environ) -> Loaded:
    """As `load_config`, and the document for those who report on it (`check_machine`)."""
    try:
        return load_document(read_document(path), env)
    except FormErrors as errors:
        raise ConfigErrors([*errors.problems, *_beside(errors, env)]) from errors


def load_document(document: Document, env: Mapping[str, str]) -> Loaded:
    """As `load`, from a document that was read already."""
    resolved = resolve_references(document, env)
    config, problems = validate(resolved)
    problems += [*resolved.problems, *cross_check(resolved.document)]
    if config is None or problems:
        raise ConfigErrors(problems)
    return Loaded(config, document)


def _beside(errors: FormErrors, env: Mapping[str, str]) -> list[Problem]:
    """What else is wrong in a document, without what its refused parts look like to the checks."""
    if not isinstance(errors.document.data, dict):
        return []
    try:
        load_document(errors.document, env)
    except ConfigErrors as others:
        refused = {problem.key for problem in errors.problems}
        return [problem for problem in others.problems if problem.key not in refused]
    return []

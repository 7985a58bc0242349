"""From plain data to a typed `Config`, with every problem that the types can see.

pydantic finds them; here each gets its place in the file and words for people.
"""

import re
from types import UnionType
from typing import Annotated, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from relay.config.document import Document
from relay.config.model import Config
from relay.config.problems import ConfigErrors, KeyPath, Problem, did_you_mean, listed, nearest
from relay.config.references import Resolved

_KINDS = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than_equal": "{ge:,} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "{le:,} or less",
    "path_type": "a path",
    "string_pattern_mismatch": "letters, digits, - and _, at most 64 of them",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "too_short": "at least one entry",
    "too_long": "at most {max_length} entries",
}
_LISTS = {"tuple_type", "list_type"}
_MAPPINGS = {"model_type", "model_attributes_type", "dict_type", "mapping_type"}
_NO_ARM = {"union_tag_invalid", "union_tag_not_found"}
"""A section that may be one of several, and does not say which."""
_QUOTED = re.compile(r"'([^']*)'")

_Part = TypeVar("_Part", bound=BaseModel)


def validate(resolved: Resolved) -> tuple[Config | None, list[Problem]]:
    """The configuration, or None and all that is wrong with it."""
    document = resolved.document
    try:
        config = Config.model_validate(
            document.data, context={"base": document.file.absolute().parent}
        )
    except ValidationError as error:
        return None, _problems(document, error, resolved.broken)
    return config, []


def validate_part(document: Document, kind: type[_Part]) -> _Part:
    """A document that holds some sections of the configuration and no others, as those do that
    ship with the relay. Raises `ConfigErrors`."""
    try:
        return kind.model_validate(document.data)
    except ValidationError as error:
        raise ConfigErrors(_problems(document, error, frozenset())) from error


def _problems(
    document: Document, error: ValidationError, broken: frozenset[KeyPath]
) -> list[Problem]:
    details = error.errors(include_url=False, include_input=False)
    return [
        _problem(document, detail)
        for detail in details
        if _path(detail) not in broken and not _follows(document, detail, details)
    ]


def _follows(document: Document, detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether a problem is only what another one looks like from elsewhere.

    A list is too short because its entries are wrong; a key is missing because it is mistyped.
    """
    loc = detail["loc"]
    if detail["type"] == "too_short":
        return any(other["loc"][: len(loc)] == loc and len(other["loc"]) > len(loc)
                   for other in details)  # fmt: skip
    if detail["type"] == "missing":
        return any(
            other["type"] == "extra_forbidden"
            and other["loc"][:-1] == loc[:-1]
            and nearest(str(other["loc"][-1]), _unused_keys(document, _path(other))) == loc[-1]
            for other in details
        )
    return False


def _path(detail: ErrorDetails) -> KeyPath:
    """Where the document has it. pydantic puts the type of an entry into its path where a section
    may be one of several."""
    parts = tuple(part for part in detail["loc"] if part != "[key]")
    kind: object = Config
    path: list[str | int] = []
    for part in parts:
        arm = _arms(kind).get(str(part))
        if arm is not None:
            kind = arm
            continue
        path.append(part)
        kind = _below(kind, part)
    if detail["type"] in _NO_ARM:
        path.append("type")
    return tuple(path)


def _problem(document: Document, detail: ErrorDetails) -> Problem:
    path, kind = _path(detail), detail["type"]
    allowed, hint = _allowed(detail)
    if detail["loc"][-1:] == ("[key]",):
        return document.problem(path, "is no name for an entry here", allowed, hint, at_key=True)
    if kind == "extra_forbidden":
        return unknown_key(document, path)
    if kind == "union_tag_invalid":
        words = _QUOTED.findall(str(detail.get("ctx", {}).get("expected_tags", "")))
        return document.problem(
            path, document.show(path), listed(words), did_you_mean(document.text(path) or "", words)
        )
    if kind in ("missing", "union_tag_not_found"):
        return document.problem(path, "missing", hint="it is required", at_key=True)
    if kind in _MAPPINGS or kind in _LISTS:
        allowed = "a list, as [a, b]" if kind in _LISTS else _mapping_of(document, path)
        return document.problem(path, document.kind(path), allowed)
    found = document.show(path)
    if kind == "string_type":
        allowed = "text"
        hint = "put it in quotes" if isinstance(document.at(path), bool) else ""
    elif kind == "too_short":
        found = "nothing in it"
    elif kind == "literal_error":
        hint = did_you_mean(document.text(path) or "", allowed.split(", "))
    return document.problem(path, found, allowed, hint)


def unknown_key(document: Document, path: KeyPath) -> Problem:
    """The problem of a key that the section does not know, with the nearest one it does."""
    known = _known_keys(document, path)
    hint = did_you_mean(str(path[-1]), _unused_keys(document, path) or known)
    return document.problem(path, "unknown key", ", ".join(known), hint, at_key=True)


def _known_keys(document: Document, path: KeyPath) -> list[str]:
    section = _section_at(document, path[:-1])
    return sorted(section.model_fields) if section else []


def _unused_keys(document: Document, path: KeyPath) -> list[str]:
    written = document.names(*path[:-1])
    return [name for name in _known_keys(document, path) if name not in written]


def _allowed(detail: ErrorDetails) -> tuple[str, str]:
    """What is allowed, and a hint where the message has one."""
    context = detail.get("ctx", {})
    if detail["type"] == "value_error":
        said = str(context.get("error", detail["msg"])).removeprefix("allowed is ")
        allowed, _, hint = said.partition("; ")
        return allowed, hint
    if detail["type"] == "literal_error":
        return ", ".join(_QUOTED.findall(str(context.get("expected", "")))), ""
    wanted = _KINDS.get(detail["type"])
    return (wanted.format(**context) if wanted else detail["msg"]), ""


def _mapping_of(document: Document, path: KeyPath) -> str:
    section = _section_at(document, path)
    if section is None:
        return "a mapping of names, each with its section"
    return "a mapping with " + ", ".join(sorted(section.model_fields))


def _section_at(document: Document, path: KeyPath) -> type[BaseModel] | None:
    """The section of the model that a key path leads to. Which of several it is, where it may be
    one of them, the document says."""
    kind: object = Config
    for depth, part in enumerate(path, 1):
        kind = _below(kind, part)
        if arms := _arms(kind):
            kind = arms.get(document.text((*path[:depth], "type")) or "")
    return _section_in(kind)


def _below(kind: object, part: str | int) -> object:
    """What stands under a key."""
    if section := _section_in(kind):
        field = section.model_fields.get(str(part))
        return field.annotation if field else None
    return _entry_of(kind)


def _arms(kind: object) -> dict[str, type[BaseModel]]:
    """The sections that may stand here, by the word of their key `type` that tells which it is;
    none where there is but one kind."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) not in (Union, UnionType):
        return {}
    sections = [arm for arm in get_args(kind) if isinstance(arm, type)]
    return {
        get_args(arm.model_fields["type"].annotation)[0]: arm
        for arm in sections
        if issubclass(arm, BaseModel) and "type" in arm.model_fields
    }


def _section_in(kind: object) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) in (Union, UnionType):
        return next((found for arm in get_args(kind) if (found := _section_in(arm))), None)
    return None


def _entry_of(kind: object) -> object:
    """What a mapping or a tuple of any length holds."""
    arguments = [argument for argument in get_args(kind) if argument is not Ellipsis]
    return arguments[-1] if arguments else None

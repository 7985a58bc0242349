"""What ships with the relay as YAML, read as the configuration is.

A file of `relay/shipped` holds sections as they stand in the configuration. It is read once.
"""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from relay.config.bounces import ShippedBounces
from relay.config.document import parse_document
from relay.config.reactions import ReactionRule
from relay.config.section import Section
from relay.config.validation import validate_part

_Part = TypeVar("_Part", bound=BaseModel)


class _Bounces(Section):
    bounces: ShippedBounces


class _Reactions(Section):
    reactions: tuple[ReactionRule, ...]


def shipped_text(name: str) -> str:
    """A file of `relay/shipped` as it is written."""
    return (files("relay.shipped") / name).read_text("utf-8")


def read_shipped(name: str, kind: type[_Part]) -> _Part:
    """A file of `relay/shipped` as sections. Raises `ConfigErrors`."""
    return validate_part(parse_document(shipped_text(name), Path("relay/shipped", name)), kind)


@cache
def shipped_reactions() -> tuple[ReactionRule, ...]:
    """The rules of `reactions.yaml`, in their order."""
    return read_shipped("reactions.yaml", _Reactions).reactions


@cache
def shipped_bounces() -> ShippedBounces:
    """The rules of `bounces.yaml`, in their order."""
    return read_shipped("bounces.yaml", _Bounces).bounces

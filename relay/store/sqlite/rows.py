"""Statements about many rows at a time."""

import functools
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

# Statements are prepared once for each number of rows that occurs, and cached by the connection.
CHUNK = 64


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items in runs of at most CHUNK."""
    if len(items) <= CHUNK:
        if items:
            yield items
        return
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


@functools.lru_cache(maxsize=1_024)
def values(statement: str, row: str, count: int, *, in_brackets: bool = False) -> str:
    """`statement` followed by `count` times `row`, a constant with its placeholders."""
    repeated = ", ".join([row] * count)
    return f"{statement}({repeated})" if in_brackets else statement + repeated

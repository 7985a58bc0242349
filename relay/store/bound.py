"""What an engine has been told how to do, and has only to be given what for.

Faces with logic of their own (batches, pages, what to do with what is damaged) stand once, above
both engines, and are handed such functions: one that writes is one transaction, one that asks is
one short question. Faces that only pass on what they are asked stand with the statements that
answer them, once for each engine: a value that named the functions in between would be as long.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")

Write = Callable[[A], Awaitable[R]]
"""Durable when it returns. Raises StoreError."""

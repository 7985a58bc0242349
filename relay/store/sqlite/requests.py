"""What coroutines ask the writer for, and how they hear what came of it."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")

# An operation serves many requests of its kind at once: one result for each, in order.
Operation = Callable[[sqlite3.Connection, Sequence[A]], Sequence[R]]


class Request(Generic[A, R]):
    """One wish, and the future that waits for it. A plain class: two are made for each message."""

    __slots__ = ("argument", "future", "if_lost", "loop", "operation")

    def __init__(
        self,
        operation: Operation[A, R],
        argument: A,
        loop: asyncio.AbstractEventLoop,
        if_lost: Callable[[R | None], None] | None,
    ) -> None:
        self.operation = operation
        self.argument = argument
        self.loop = loop
        self.future: asyncio.Future[R] = loop.create_future()
        self.if_lost = if_lost


Resolution = tuple[Request[Any, Any], object, BaseException | None]


def resolve(resolved: Sequence[Resolution]) -> None:
    """Hand results over to their loops, with one call into each. There is at least one result."""
    first = resolved[0][0].loop
    if all(request.loop is first for request, _, _ in resolved):
        shares = {first: resolved}
    else:
        shares = {}
        for resolution in resolved:
            shares[resolution[0].loop] = [*shares.get(resolution[0].loop, ()), resolution]
    for loop, share in shares.items():
        # A loop that was closed meanwhile has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_set_results, share)


def _set_results(resolved: Sequence[Resolution]) -> None:
    for request, result, error in resolved:
        if request.future.done():
            if request.if_lost is not None:
                request.if_lost(result)
        elif error is None:
            request.future.set_result(result)
        else:
            request.future.set_exception(error)

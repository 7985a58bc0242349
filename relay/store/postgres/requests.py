"""What coroutines ask the writer for, and how they hear what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from relay.store.postgres.session import Session

A = TypeVar("A")
R = TypeVar("R")

Operation = Callable[[Session, Sequence[A]], Awaitable[Sequence[R]]]
"""Serves many requests of its kind at once, in the transaction that is open: one result for each,
in order."""


class Request(Generic[A, R]):
    """One wish, and the future that waits for it. A plain class: two are made for each message."""

    __slots__ = ("argument", "future", "if_lost", "operation")

    def __init__(
        self,
        operation: Operation[A, R],
        argument: A,
        future: "asyncio.Future[R]",
        if_lost: Callable[[R | None], None] | None,
    ) -> None:
        self.operation = operation
        self.argument = argument
        self.future = future
        self.if_lost = if_lost

    def resolve(self, result: R) -> None:
        """It is done. Whoever went away meanwhile has missed it."""
        if not self.future.done():
            self.future.set_result(result)
        elif self.if_lost is not None:
            self.if_lost(result)

    def fail(self, error: BaseException) -> None:
        """Nothing was done."""
        if not self.future.done():
            self.future.set_exception(error)
        elif self.if_lost is not None:
            self.if_lost(None)

    def doubt(self, result: R, error: BaseException) -> None:
        """Nobody can say whether it is done: it counts as not done, and is undone if it was."""
        if not self.future.done():
            self.future.set_exception(error)
        if self.if_lost is not None:
            self.if_lost(result)


AnyRequest = Request[Any, Any]

"""Forgets what is old or too much: dialogues of attempts, messages of the log, entries of the
suppression list that have long expired, and the log of its changes.

In small steps, beside the mail.
"""

import asyncio
from collections.abc import Awaitable, Callable

from relay.config.model import Config
from relay.observe.logging import Logger
from relay.store.interface import AttemptStore, StoreError, SuppressionStore
from relay.store.log_interface import MessageLog

EXPIRED_KEPT_MS = 90 * 86_400_000
"""An entry that has expired is kept so long, for its count of bounces: the next bounce is not the
first one again."""

_EVERY = 5.0  # seconds
_SELDOM = 300.0
_AT_ONCE = 500  # rows, a few milliseconds of the writer
_BREATH = 0.02  # seconds between two steps


async def prune_attempts(
    store: AttemptStore,
    config: Callable[[], Config],
    clock: Callable[[], int],
    is_ours: Callable[[], Awaitable[bool]],
    log: Logger,
) -> None:
    """For ever, by the configuration in force. `clock` gives the UTC milliseconds of the queue;
    `is_ours` says whether it is this node that does it."""

    async def step() -> bool:
        if not await is_ours():
            return False
        bounds = config().delivery
        before = clock() - round(bounds.keep_dialogues * 1000)
        return await store.prune(before, bounds.most_dialogues, _AT_ONCE) == _AT_ONCE

    while True:
        is_more = await _tried(step, log, "old dialogues cannot be removed now")
        await asyncio.sleep(_BREATH if is_more else _EVERY)


async def prune_log(
    messages: MessageLog,
    config: Callable[[], Config],
    keep_from: Callable[[], int],
    clock: Callable[[], int],
    log: Logger,
) -> None:
    """For ever, likewise. `keep_from` is the number of the first event that somebody is still to
    be told."""

    async def step() -> bool:
        bounds = config().message_log
        now = clock()
        before = now - round(bounds.keep * 1000)
        return await messages.prune(before, bounds.size, keep_from(), _AT_ONCE, now) > 0

    while True:
        is_more = await _tried(step, log, "old messages cannot be removed from the log now")
        await asyncio.sleep(_BREATH if is_more else _EVERY)


async def prune_suppressions(
    store: SuppressionStore,
    config: Callable[[], Config],
    clock: Callable[[], int],
    is_ours: Callable[[], Awaitable[bool]],
    log: Logger,
) -> None:
    """For ever, likewise."""

    async def step() -> bool:
        if not await is_ours():
            return False
        bounds = config().suppression
        now = clock()
        entries = await store.prune(now - EXPIRED_KEPT_MS, _AT_ONCE)
        before = now - round(bounds.keep_changes * 1000)
        changes = await store.prune_changes(before, bounds.most_changes, _AT_ONCE)
        return _AT_ONCE in (entries, changes)

    while True:
        is_more = await _tried(step, log, "the suppression list cannot be tidied now")
        await asyncio.sleep(_BREATH if is_more else _SELDOM)


async def _tried(step: Callable[[], Awaitable[bool]], log: Logger, problem: str) -> bool:
    """Whether there is more to do at once."""
    try:
        return await step()
    except StoreError as error:
        log.warning(problem, error=str(error))
        return False

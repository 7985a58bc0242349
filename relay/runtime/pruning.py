"""Forgets what is kept of attempts, and of messages, once it is old or too much: in small steps,
beside the mail."""

import asyncio
from collections.abc import Callable

from relay.config.model import Config
from relay.observe.logging import Logger
from relay.store.interface import AttemptStore, StoreError
from relay.store.log_interface import MessageLog

_EVERY = 5.0  # seconds
_AT_ONCE = 500  # rows, a few milliseconds of the writer
_BREATH = 0.02  # seconds between two steps


async def prune_attempts(
    store: AttemptStore, config: Callable[[], Config], clock: Callable[[], int], log: Logger
) -> None:
    """For ever, by the configuration in force. `clock` gives the UTC milliseconds of the queue."""
    while True:
        bounds = config().delivery
        before = clock() - round(bounds.keep_dialogues * 1000)
        try:
            is_more = await store.prune(before, bounds.most_dialogues, _AT_ONCE) == _AT_ONCE
        except StoreError as error:
            log.warning("old dialogues cannot be removed now", error=str(error))
            is_more = False
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
    while True:
        bounds = config().message_log
        before = clock() - round(bounds.keep * 1000)
        try:
            gone = await messages.prune(before, bounds.size, keep_from(), _AT_ONCE)
        except StoreError as error:
            log.warning("old messages cannot be removed from the log now", error=str(error))
            gone = 0
        await asyncio.sleep(_BREATH if gone else _EVERY)

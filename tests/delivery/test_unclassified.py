"""Replies that no rule knew: gathered in memory, written now and then."""

from typing import Any

from prometheus_client import generate_latest

from relay.config.bounces import Bounces
from relay.delivery.unclassified import GATHERED_AT_MOST, UnclassifiedReplies
from relay.mail.replies import Reply
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.store.interface import StoreFull
from relay.store.values import UnclassifiedReply

METRICS = Metrics()
NOW = 1_800_000_000_000


class Shelf:
    """A store of one kind of thing, that may be full."""

    def __init__(self) -> None:
        self.full = False
        self.written: list[UnclassifiedReply] = []
        self.most = 0

    async def add(self, replies: Any, most: int) -> None:
        if self.full:
            raise StoreFull("no room")
        self.written += replies
        self.most = most


def gathering(shelf: Any, bounces: Bounces | None = None) -> UnclassifiedReplies:
    return UnclassifiedReplies(shelf, bounces or Bounces(), METRICS, make_logger())


def wibble(number: int) -> Reply:
    return Reply(550, "5.0.0", f"wibble {number} for bob@example.org", said_by_peer=True)


async def test_equal_replies_are_one_with_a_count() -> None:
    shelf = Shelf()
    replies = gathering(shelf)
    for number in range(3):
        replies.note(wibble(number), "rcpt", "google", NOW + number)
    await replies.write()
    (found,) = shelf.written
    assert found == UnclassifiedReply(
        "550 5.0.0 wibble # for <address>",
        "rcpt",
        "google",
        3,
        NOW,
        NOW + 2,
        "550 5.0.0 wibble 0 for <address>",
    )
    assert shelf.most == 1_000
    scraped = generate_latest(METRICS.registry).decode()
    assert 'relay_replies_unclassified_total{provider="google"} 3.0' in scraped


async def test_nothing_is_written_where_nothing_was_gathered() -> None:
    shelf = Shelf()
    shelf.full = True
    await gathering(shelf).write()
    assert shelf.most == 0


async def test_what_a_full_store_did_not_take_is_offered_again() -> None:
    shelf = Shelf()
    replies = gathering(shelf)
    replies.note(wibble(1), "rcpt", "", NOW)
    shelf.full = True
    await replies.write()
    replies.note(wibble(2), "rcpt", "", NOW + 5)
    shelf.full = False
    await replies.write()
    (found,) = shelf.written
    assert (found.count, found.first_seen, found.last_seen) == (2, NOW, NOW + 5)


async def test_memory_is_bounded_whatever_peers_say() -> None:
    shelf = Shelf()
    replies = gathering(shelf)
    for number in range(GATHERED_AT_MOST + 100):
        word = "".join("abcdefghij"[int(digit)] for digit in str(number))
        replies.note(Reply(550, "", f"wibble {word}", said_by_peer=True), "rcpt", "", NOW)
    await replies.write()
    assert len(shelf.written) == GATHERED_AT_MOST


async def test_nothing_is_kept_where_the_configuration_says_so() -> None:
    shelf = Shelf()
    replies = gathering(shelf, Bounces(keep_unclassified=0))
    replies.note(wibble(1), "rcpt", "", NOW)
    await replies.write()
    assert shelf.written == []

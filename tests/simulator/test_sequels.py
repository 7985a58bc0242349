"""What follows on simulated mail: of which message, when, and how much of it."""

import asyncio
from dataclasses import replace
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path

import pytest

from relay.feedback.policy import Policies
from relay.mail.envelope import Recipient
from relay.mail.message_id import new_message_id
from relay.mail.verp import VerpKey, make
from relay.observe.logging import make_logger
from relay.simulator.sequels import MOST_TO_COME, Sequels
from relay.store.happenings import Complained
from relay.store.interface import StoreError
from relay.store.values import Accepted, Message
from tests.contract.making import make_new
from tests.delivery.outgoing import make_config

KEY = VerpKey(0, b"k" * 32)
COMPLAINT = "complaint+1@simulator.relay.test"
OOTO = "ooto@simulator.relay.test"


class FakeStore:
    def __init__(self, message: Message) -> None:
        self.message = message
        self.told: list[tuple[str, Complained, str]] = []
        self.inserted = []
        self.broken = False
        self.outbox = self

    async def find_message(self, message_id: str) -> Message | None:
        if self.broken:
            raise StoreError("gone")
        return self.message if message_id == self.message.id else None

    async def add(self, message_id, at, what, once="") -> bool:
        if self.broken:
            raise StoreError("gone")
        self.told.append((message_id, what, once))
        return True

    async def insert(self, new, owner):
        self.inserted.append(new)
        return Accepted((), ())


@pytest.fixture
def message() -> Message:
    message = make_new("a@x.test").message
    envelope = replace(
        message.envelope, reverse_path="app@sender.test", recipients=(Recipient(COMPLAINT),)
    )
    header = b"Subject: =?utf-8?q?f=C3=BCnf?=\r\nMessage-ID: <1@client.test>\r\n"
    return replace(
        message,
        id=new_message_id(message.accepted_at),
        envelope=envelope,
        header=header,
    )


@pytest.fixture
def store(message: Message) -> FakeStore:
    return FakeStore(message)


@pytest.fixture
def queued() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def sequels(store: FakeStore, queued: list[tuple[int, str]], message: Message, tmp_path: Path):
    def make_sequels(after: float = 0.0) -> Sequels:
        return Sequels(
            store,  # type: ignore[arg-type]
            Policies.of(make_config(tmp_path)),
            [KEY],
            queued=lambda at, name: queued.append((at, name)),
            now=lambda: message.accepted_at + 5_000,
            log=make_logger(level="error"),
            after=after,
        )

    return make_sequels


def path(message: Message, domain: str = "simulator.relay.test") -> str:
    return make(message.id, None, domain, KEY)


async def test_a_complaint_is_told_of_the_message_and_of_who_complains(
    sequels, store: FakeStore, message: Message
) -> None:
    s = sequels()
    assert await s.follow("complaint", path(message), COMPLAINT)
    await s.close()
    ((message_id, what, once),) = store.told
    assert message_id == message.id
    assert (what.address, what.feedback_type) == (COMPLAINT, "abuse")
    assert what.user_agent == "relay-mailbox-simulator/1.0"
    assert what.arrived_at == (message.accepted_at + 5_000) // 1000 * 1000
    assert once


async def test_an_answer_goes_to_the_sender_as_mail_that_nothing_answers(
    sequels, store: FakeStore, queued, message: Message
) -> None:
    s = sequels()
    assert await s.follow("auto_reply", path(message), OOTO)
    await s.close()
    (new,) = store.inserted
    envelope = new.message.envelope
    assert envelope.reverse_path == ""
    assert [r.address for r in envelope.recipients] == ["app@sender.test"]
    assert envelope.recipients[0].notify == ("NEVER",)
    assert new.message.credential == "relay"
    mail = message_from_bytes(new.message.header + b"\r\n", policy=SMTP)
    assert mail["Auto-Submitted"] == "auto-replied"
    assert mail["Subject"] == "Automatic reply: fünf"
    assert mail["In-Reply-To"] == mail["References"] == "<1@client.test>"
    assert queued == [(new.due_at, new.message.configuration_set)]


async def test_an_answer_to_a_return_path_of_the_relay_is_read_there_and_is_no_bounce(
    sequels, store: FakeStore, message: Message
) -> None:
    s = sequels()
    assert await s.follow("auto_reply", path(message, "bounce.sender.test"), OOTO)
    await s.close()
    assert (store.inserted, store.told) == ([], [])


async def test_a_message_is_answered_once_and_complained_of_by_each(
    sequels, store: FakeStore, message: Message
) -> None:
    s = sequels(after=60.0)
    for label in ("1", "2", "3"):
        for sequel, box in (("auto_reply", "ooto"), ("complaint", "complaint")):
            assert await s.follow(sequel, path(message), f"{box}+{label}@simulator.relay.test")
    assert (store.inserted, store.told) == ([], []), "not at once"
    await s.close()
    assert len(store.inserted) == 1
    assert len(store.told) == 3


@pytest.mark.parametrize("reverse_path", ["", "app@sender.test", "b+forged@bounce.sender.test"])
async def test_nothing_follows_on_mail_without_a_return_path_of_ours(
    sequels, store: FakeStore, reverse_path: str
) -> None:
    s = sequels()
    assert await s.follow("complaint", reverse_path, COMPLAINT)
    assert await s.follow("auto_reply", reverse_path, OOTO)
    await s.close()
    assert (store.inserted, store.told) == ([], [])


async def test_nothing_follows_on_a_message_that_is_gone(
    sequels, store: FakeStore, message: Message
) -> None:
    s = sequels()
    store.message = replace(message, id="another")
    assert await s.follow("complaint", path(message), COMPLAINT)
    await s.close()
    assert store.told == []


async def test_a_store_that_fails_promises_nothing(
    sequels, store: FakeStore, message: Message
) -> None:
    s = sequels()
    store.broken = True
    assert not await s.follow("complaint", path(message), COMPLAINT)
    await s.close()


async def test_a_store_that_fails_later_is_survived(
    sequels, store: FakeStore, message: Message
) -> None:
    s = sequels(after=60.0)
    assert await s.follow("complaint", path(message), COMPLAINT)
    store.broken = True
    await s.close()
    assert store.told == []


async def test_so_much_is_to_come_and_no_more(sequels, store: FakeStore, message: Message) -> None:
    s = sequels(after=60.0)
    for number in range(MOST_TO_COME):
        assert await s.follow("complaint", path(message), f"complaint+{number}@s.test")
    assert not await s.follow("complaint", path(message), COMPLAINT)
    await asyncio.wait_for(s.close(), 30)
    assert len(store.told) == MOST_TO_COME

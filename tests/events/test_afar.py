"""What a node says of destinations that another node tells."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.events.afar import states_afar
from relay.events.letters import shown_letters
from relay.store.log_interface import MessageLog
from relay.store.log_values import DeadLetter, Filing, TellingCursor
from relay.store.sqlite.log import SqliteLog
from tests.contract.making import NOW
from tests.contract.test_message_log import message, sent
from tests.limits.making import make_config

CONFIG = make_config(
    configuration_sets={"news": {"pool": "main", "events": ["crm", "archive"]}},
    events={
        "crm": {"type": "webhook", "url": "https://hooks.test/in?key=secret"},
        "archive": {"type": "file", "path": "/var/log/relay/events.json", "enabled": False},
    },
)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[MessageLog]:
    """Five events; `crm` was told the first and the fourth, and would not take the second."""
    made = SqliteLog(tmp_path)
    await made.open()
    messages = tuple(message(n) for n in range(1, 6))
    await made.file(Filing("o", 1, messages, tuple(sent(one) for one in messages)))
    await made.put_cursors([TellingCursor("crm", 2, (4,), dropped=7)])
    await made.add_dead_letters([DeadLetter("crm", sent(messages[1]), 3, "410 gone", NOW)], 10)
    yield made
    await made.close()


async def test_how_far_a_destination_is_can_be_seen_from_afar(log: MessageLog) -> None:
    archive, crm = await states_afar(log, CONFIG, "relay-2")
    assert (crm.name, crm.condition, crm.told_by) == ("crm", "elsewhere", "relay-2")
    assert (crm.backlog, crm.dead_letters, crm.dropped) == (2, 1, 7)
    assert crm.configuration_sets == ("news",)
    assert "secret" not in crm.where
    assert (archive.condition, archive.backlog) == ("off", 0)


async def test_dead_letters_can_be_seen_from_afar(log: MessageLog) -> None:
    (letter,) = await shown_letters(log, "relay.example.com", "crm", 0, 10)
    assert (letter.error, letter.message_id) == ("410 gone", message(2).id)
    assert message(2).id in letter.content

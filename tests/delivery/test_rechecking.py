"""Queued mail is compared with the suppression list before each attempt."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from relay.delivery import rechecking
from relay.delivery.rechecking import FRESH_MS
from relay.store.interface import StoreUnavailable
from relay.store.suppression_values import Author
from relay.store.values import Message, SuppressionEntry
from tests.delivery.outgoing import Outgoing, make_config, now_ms
from tests.delivery.receiver import Receiver


async def suppress(relay: Outgoing, address: str, **fields: Any) -> None:
    facts: dict[str, Any] = {"reason": "bounce", "source": "operator", "created_at": now_ms()}
    entry = SuppressionEntry(address, **{**facts, **fields})
    await relay.store.suppressions.put([entry], Author("ann", now_ms()))


async def send_old(relay: Outgoing, *recipients: str, **facts: Any) -> Message:
    """Mail that was accepted a while ago, and comes from the store."""
    accepted_at = now_ms() - FRESH_MS - 1
    return await relay.send(*recipients, accepted_at=accepted_at, offer=False, **facts)


async def test_mail_to_whom_the_list_has_got_meanwhile_is_not_sent(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await suppress(relay, "B@example.test")
        message = await send_old(relay, "b@example.test", "c@example.test")
        await send_old(relay, "b@example.test", configuration_set="other")
        relay.scheduler.wake()
        await relay.until_empty()
        assert relay.metric("relay_recipients_bounced_total", outcome="suppressed") == 2
        assert relay.metric("relay_recipients_delivered_total") == 1
        told = relay.lines.of("not sent: the recipient has come to the suppression list")
        assert message.id in {line["message_id"] for line in told}
    (arrived,) = receiver.messages  # and no report to the sender either
    assert arrived.recipients == ["c@example.test"]


async def test_an_entry_that_has_expired_keeps_nothing_back(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await suppress(relay, "b@example.test", expires_at=now_ms() - 1)
        await send_old(relay, "b@example.test")
        relay.scheduler.wake()
        await relay.until_empty()
    assert len(receiver.messages) == 1


async def test_mail_of_a_set_that_heeds_no_reason_asks_nothing(tmp_path: Path) -> None:
    sets = {"main": {"pool": "main", "suppression": []}}
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, configuration_sets=sets)) as relay,
    ):
        asked = listen(relay)
        await suppress(relay, "b@example.test")
        await send_old(relay, "b@example.test")
        relay.scheduler.wake()
        await relay.until_empty()
        assert not asked
    assert len(receiver.messages) == 1


async def test_mail_that_was_accepted_just_now_asks_nothing(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        asked = listen(relay)
        await relay.send("b@example.test")
        await relay.until_empty()
        assert not asked
    assert len(receiver.messages) == 1


async def test_a_retry_asks_however_soon_it_comes(tmp_path: Path) -> None:
    script = {"RCPT": b"451 4.3.0 later\r\n"}
    retry = {"schedule": ["1s"], "jitter": 0}
    async with (
        Receiver(script) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, retry=retry)) as relay,
    ):
        await relay.send("b@example.test")
        await relay.until_attempted()
        await suppress(relay, "b@example.test", reason="complaint")
        await relay.until_empty()
        assert len(relay.lines.of("delivery attempt")) == 1
    assert not receiver.messages


async def test_mail_waits_while_the_list_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rechecking, "PAUSE", 0.02)
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        reasons, refused = relay.store.suppressions.reasons, []

        async def away(keys: Sequence[str]) -> Any:
            if len(refused) < 3:
                refused.append(len(receiver.messages))
                raise StoreUnavailable("the database is away")
            return await reasons(keys)

        relay.store.suppressions.reasons = away
        await send_old(relay, "b@example.test")
        relay.scheduler.wake()
        await relay.until_empty()
        assert refused == [0, 0, 0]
        assert len(relay.lines.of("mail waits: the suppression list cannot be read")) == 1
    assert len(receiver.messages) == 1


async def test_what_asks_is_given_back_where_it_is_cut(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        asking = asyncio.Event()

        async def silent(keys: Sequence[str]) -> Any:
            asking.set()
            await asyncio.Event().wait()

        relay.store.suppressions.reasons = silent
        await send_old(relay, "b@example.test")
        relay.scheduler.wake()
        async with asyncio.timeout(5):
            await asking.wait()
        await relay.stop(0.0)
        (entry,) = await relay.queue()
        assert not entry.claimed
    assert not receiver.messages


def listen(relay: Outgoing) -> list[Sequence[str]]:
    """What the list is asked from now on."""
    asked: list[Sequence[str]] = []
    reasons = relay.store.suppressions.reasons

    async def heard(keys: Sequence[str]) -> Any:
        asked.append(keys)
        return await reasons(keys)

    relay.store.suppressions.reasons = heard
    return asked

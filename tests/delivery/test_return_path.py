"""The reverse-path on the wire, with and without a MAIL FROM domain."""

from pathlib import Path
from typing import Any

from relay.mail.verp import read
from relay.signing.return_path_keys import read_keys
from tests.delivery.outgoing import Outgoing, make_config, now_ms
from tests.delivery.receiver import Receiver

IDENTITIES = {"sender.test": {"mail_from": "bounce.sender.test"}}
DAY = 86_400_000


def said(directory: Path, address: str) -> Any:
    return read(address, read_keys(directory), now=now_ms(), lifetime=DAY)


async def test_mail_goes_out_with_a_return_path_of_its_own(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, identities=IDENTITIES)) as relay,
    ):
        message = await relay.send("b@example.test")
        await receiver.until_messages(1)
    (received,) = receiver.messages
    found = said(tmp_path, received.reverse_path)
    assert (found.message_id, found.recipient) == (message.id, 0)
    assert received.reverse_path.endswith("@bounce.sender.test")


async def test_recipients_of_one_destination_still_share_a_transaction(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, identities=IDENTITIES)) as relay,
    ):
        await relay.send("b@example.test", "c@example.test", "d@example.com")
        await receiver.until_messages(1)
    (received,) = receiver.messages
    assert len(received.recipients) == 3
    assert said(tmp_path, received.reverse_path).recipient is None


async def test_a_report_of_ours_goes_to_the_client_and_has_the_null_reverse_path(
    tmp_path: Path,
) -> None:
    def refuse(session: Any, line: str) -> bytes:
        return b"550 5.1.1 user unknown\r\n" if "b@example" in line else b"250 ok\r\n"

    async with (
        Receiver({"RCPT": refuse}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, identities=IDENTITIES)) as relay,
    ):
        await relay.send("b@example.test", reverse_path="app@sender.test")
        await receiver.until_messages(1)
        (bounce,) = [
            line for line in relay.lines.of("delivery attempt") if line["kind"] == "bounced"
        ]
        assert relay.metric("relay_bounces_total", bounce_type="Permanent") == 1
    (report,) = receiver.messages
    assert report.reverse_path == ""
    assert report.recipients == ["app@sender.test"]
    assert (bounce["bounce_type"], bounce["bounce_subtype"]) == ("Permanent", "NoEmail")
    assert (bounce["category"], bounce["rule"]) == ("mailbox_unknown", "mailbox-unknown")


async def test_a_rule_of_the_configuration_is_asked_first_and_unknown_words_are_gathered(
    tmp_path: Path,
) -> None:
    bounces = {
        "rules": [
            {"name": "ours", "text": "wibble", "category": "policy", "try_again": False},
            {"name": "twice", "text": "wobble", "category": "mailbox_full", "attempts": 1},
        ]
    }
    words = {
        "b@example.test": b"450 4.0.9 wibble\r\n",
        "c@example.test": b"450 4.0.9 wobble\r\n",
        "d@example.test": b"550 5.0.9 flurb 77 for d@example.test\r\n",
    }

    def refuse(session: Any, line: str) -> bytes:
        return next(reply for address, reply in words.items() if address in line)

    async with (
        Receiver({"RCPT": refuse}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, bounces=bounces)) as relay,
    ):
        await relay.send(*words, reverse_path="")
        await relay.until_empty()
        assert relay.metric("relay_recipients_bounced_total", outcome="policy") == 1
        assert relay.metric("relay_recipients_bounced_total", outcome="mailbox_full") == 1
        assert relay.metric("relay_recipients_bounced_total", outcome="unclassified") == 1
        await relay.stop()
        (kept,) = await relay.store.unclassified.all(10)
    assert (kept.reply, kept.phase) == ("550 5.0.9 flurb # for <address>", "rcpt")

"""Mail that is offered leaves through its pool, is settled, and connections are reused."""

from pathlib import Path

from tests.delivery.outgoing import Outgoing, make_config
from tests.delivery.receiver import Receiver


async def test_an_offered_message_arrives_octet_for_octet_and_leaves_the_queue(
    tmp_path: Path,
) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        body = b".hidden dot\r\n..\r\n.\r\nbinary \x01\x7f\r\n"
        await relay.send("b@example.test", body=body)
        await receiver.until_messages(1)
        await relay.until_empty()
    (message,) = receiver.messages
    assert message.content == b"From: a@sender.test\r\nSubject: test\r\n\r\n" + body
    assert message.recipients == ["b@example.test"]
    assert message.reverse_path == "a@sender.test"
    assert message.client == "127.0.0.2"
    assert message.ehlo == "relay.test"

"""How often a message waits for a distant peer: what goes out before the next reply is counted."""

import asyncio
from typing import Any, cast

import pytest

from relay.delivery.commands import Mail
from relay.delivery.peer import Peer
from relay.delivery.transaction import Timeouts, Transaction
from relay.delivery.wire import Wire
from relay.mail.envelope import Envelope, Recipient


class Distant(asyncio.Transport):
    """A peer that answers when nothing more comes: each time it speaks is one round trip."""

    def __init__(self) -> None:
        super().__init__()
        self.round_trips = 0
        self.said = b""
        self.protocol: Any = None
        self._heard = b""
        self._in_data = False
        self._loop = asyncio.get_running_loop()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        if not self._heard:
            self._loop.call_later(0, self._answer)
        self._heard += bytes(data)

    def _answer(self) -> None:
        heard, self._heard = self._heard, b""
        self.said += heard
        self.round_trips += 1
        replies = b""
        while heard:
            if self._in_data:
                _, _, heard = heard.partition(b"\r\n.\r\n")
                self._in_data = False
                replies += b"250 2.0.0 taken\r\n"
                continue
            line, _, heard = heard.partition(b"\r\n")
            self._in_data = line == b"DATA"
            replies += b"354 go ahead\r\n" if self._in_data else b"250 2.0.0 ok\r\n"
        self.protocol.data_received(replies)


@pytest.mark.parametrize(
    ("pipelining", "recipients", "expected"),
    [(True, 1, 2), (True, 50, 2), (False, 1, 4), (False, 50, 53)],
)
async def test_a_message_costs_two_round_trips_with_pipelining_and_one_a_command_without(
    pipelining: bool, recipients: int, expected: int
) -> None:
    distant = Distant()
    wire = Wire(asyncio.get_running_loop(), cast("asyncio.Transport", distant), lambda: None)
    peer = Peer("mx.test", "192.0.2.1", pipelining=pipelining, eight_bit=True)
    to = tuple(Recipient(f"r{n}@dest.test") for n in range(recipients))
    mail = Mail(Envelope("a@sender.test", to), 200, False, False)
    for number in range(1, 4):
        transaction = Transaction(wire, peer, Timeouts(5, 5, 5), mail, to)
        answers = await transaction.send(b"Subject: test\r\n\r\nHello\r\n.\r\n")
        assert [answer.reply.code for answer in answers] == [250] * recipients
        assert distant.round_trips == number * expected
    assert distant.said.count(b"\r\nDATA\r\n") == 3

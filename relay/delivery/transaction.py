"""One mail transaction over an open connection: MAIL, RCPT, DATA, the content, the final dot.

Where the peer offers PIPELINING the commands go out together (RFC 2920), else one by one. Every
recipient gets exactly one answer, the peer's or one of our own that says what happened. Never says
that a message was delivered but on the peer's 2yz to the final dot.

The dangerous moment is between the final dot and its reply. A connection that breaks then leaves
the outcome unknown: the recipients are tried again, and the text says that the message may be
delivered twice (RFC 5321 §4.5.4.2, RFC 1047).
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import islice
from time import monotonic

from relay.delivery.commands import Mail, mail_command, rcpt_command, unfit
from relay.delivery.peer import Peer
from relay.delivery.reply_parser import PeerReply
from relay.delivery.wire import Fault, Wire
from relay.feedback.outcome import Phase
from relay.mail.enhanced import printable_text, split_reply
from relay.mail.envelope import Recipient
from relay.mail.replies import Reply

MAX_RECIPIENTS = 100  # what every receiver must take (RFC 5321 §4.5.3.1.8)
_BLOCK = 256 * 1024

Content = bytes | AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one recipient, and in which phase of the dialogue it was said."""

    recipient: Recipient
    reply: Reply
    phase: Phase


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: for a reply to a command, for one block to be taken, for the final reply."""

    command: float
    data: float
    final: float


Said = tuple[float, bytes | int | list[PeerReply]]
"""What was said, and at what monotonic time: commands, so many octets of content, or replies."""


class NotOurs(Exception):
    """The message was not sent: it is not this process's any more. The connection is cut."""


class _Ended(Exception):
    """The dialogue cannot go on. `reply` answers every recipient that is still open.

    `in_doubt` says that the peer's replies can no longer be told apart, so that what was refused
    before is open again.
    """

    def __init__(self, phase: Phase, reply: Reply, *, in_doubt: bool = False) -> None:
        super().__init__(str(reply))
        self.phase = phase
        self.reply = reply
        self.in_doubt = in_doubt


class Transaction:
    """Sends one message to at most `MAX_RECIPIENTS` recipients; used once.

    `said` is the dialogue so far, in the very objects that went out and came in.
    """

    def __init__(
        self,
        wire: Wire,
        peer: Peer,
        timeouts: Timeouts,
        mail: Mail,
        recipients: tuple[Recipient, ...],
        *,
        reset_first: bool = False,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_ours` is asked at the last moment, before the end of the message goes out."""
        self._is_ours = is_ours
        self.needs_reset = reset_first
        self.untouched = True  # nothing but MAIL was ever answered: a fresh connection may retry
        self.group_broke = False  # the peer answered some of what went out together, and no more
        self._wire = wire
        self._peer = peer
        self._timeouts = timeouts
        self._mail = mail
        self._recipients = recipients
        self._sent = 0  # octets of content
        self._count = 0  # commands in the group that went out together
        self._replies: deque[PeerReply] = deque()
        self._answers: dict[int, Answer] = {}
        self.said: list[Said] = []

    async def send(self, content: Content) -> list[Answer]:
        """Run it all; one answer per recipient, in their order.

        Raises what reading `content` raises, and `NotOurs`; the connection is cut then.
        """
        refusal = unfit(self._peer, self._mail, self._recipients)
        if refusal is not None:
            self.untouched = False
            return self._close("mail", refusal)
        try:
            reply, phase = await self._converse(content)
        except _Ended as end:
            self._wire.abort()
            if end.in_doubt:
                self._answers.clear()
            return self._close(end.phase, end.reply)
        return self._close(phase, reply)

    async def _converse(self, content: Content) -> tuple[Reply, Phase]:
        """The whole dialogue; the reply for the recipients that were not refused, and its phase."""
        if self._peer.pipelining:
            await self._say_together()
            if self._is_all_taken():
                self.untouched = False
                self.needs_reset = True
                return await self._send_content(content), "final"
        if self.needs_reset:
            await self._ask(b"RSET\r\n", "mail", allowed="2")
            self.needs_reset = False
        code, text = await self._ask(
            mail_command(self._peer, self._mail, self._recipients), "mail", allowed="245"
        )
        self.untouched = False
        if code >= 400:
            await self._decline_data()
            return split_reply(code, text), "mail"
        self.needs_reset = True
        if not await self._ask_recipients():
            await self._decline_data()
            return _NOBODY, "rcpt"
        code, text = await self._ask(b"DATA\r\n", "data", allowed="345")
        if code >= 400:
            return split_reply(code, text), "data"
        return await self._send_content(content), "final"

    async def _ask_recipients(self) -> int:
        """RCPT for each; how many the peer takes."""
        taken = 0
        for index, recipient in enumerate(self._recipients):
            code, text = await self._ask(rcpt_command(self._peer, recipient), "rcpt", allowed="245")
            if code < 400:
                taken += 1
            else:
                self._answers[index] = Answer(recipient, split_reply(code, text), "rcpt")
        return taken

    async def _decline_data(self) -> None:
        """Nobody is to be sent to. A peer that says 354 all the same is given an empty message,

        which RFC 2920 §3.1 asks for; its reply means nothing.
        """
        if not self._peer.pipelining:
            return
        while len(self._replies) > 1:  # to RCPT, after MAIL was refused
            self._replies.popleft()
        code, _ = await self._ask(b"", "data", allowed="345")
        if code < 400 and await self._exchange(b".\r\n", 1, self._timeouts.final):
            self.needs_reset = False

    async def _say_together(self) -> None:
        """All commands in one group; `_ask` finds the replies (RFC 2920)."""
        commands = [mail_command(self._peer, self._mail, self._recipients)]
        commands += [rcpt_command(self._peer, recipient) for recipient in self._recipients]
        commands.append(b"DATA\r\n")
        if self.needs_reset:
            commands.insert(0, b"RSET\r\n")
        self._count = len(commands)
        seconds = self._timeouts.command
        self._replies.extend(await self._exchange(b"".join(commands), self._count, seconds))
        fault = self._wire.fault
        self.group_broke = (
            fault is not None
            and fault.kind in ("silent", "lost")
            and 0 < len(self._replies) < self._count
            and self._replies[-1][0] != 421
        )

    def _is_all_taken(self) -> bool:
        """Whether every command of the group was answered with yes, as nearly always."""
        replies = self._replies
        return (
            len(replies) == self._count
            and replies[-1][0] == 354
            and all(200 <= code < 300 for code, _ in islice(replies, self._count - 1))
            and self._wire.fault is None
        )

    async def _ask(self, command: bytes, phase: Phase, *, allowed: str) -> PeerReply:
        """The reply to a command, which is sent now unless its group has gone out already."""
        if not self._replies and not self._peer.pipelining:
            self._replies.extend(await self._exchange(command, 1, self._timeouts.command))
        fault = self._wire.fault
        if fault is not None and fault.kind in ("protocol", "unsolicited"):
            raise self._fault(fault, phase)
        if not self._replies:
            raise self._fault(fault or _GONE, phase)
        code, text = self._replies.popleft()
        if code == 421:
            raise _Ended(phase, split_reply(code, text))
        if str(code)[0] not in allowed or (code < 400 and phase == "data" and code != 354):
            raise _Ended(
                phase, self._nonsense(f"{code} in reply to {phase.upper()}"), in_doubt=True
            )
        return code, text

    async def _exchange(self, commands: bytes, count: int, seconds: float) -> list[PeerReply]:
        """Send commands, and note them and their replies."""
        self.said.append((monotonic(), commands))
        replies = await self._wire.ask(commands, count, seconds)
        self.said.append((monotonic(), replies))
        return replies

    async def _send_content(self, content: Content) -> Reply:
        """Send it all and read the reply to the final dot."""
        if not isinstance(content, bytes):
            last = await self._send_stream(content)
        elif len(content) > _BLOCK:
            last = await self._send_blocks(content)
        else:
            last = content
        if not self._is_ours():
            self._wire.abort()
            raise NotOurs
        self._sent += len(last)
        self.said.append((monotonic(), self._sent))
        replies = await self._wire.ask(last, 1, self._timeouts.final)
        self.said.append((monotonic(), replies))
        fault = self._wire.fault
        if not replies:
            raise self._fault(fault or _GONE, "final")
        code, text = replies[0]
        if code < 400 and fault is not None and not _is_farewell(fault):
            raise self._fault(fault, "final")  # a 2yz that may have been meant for something else
        if 300 <= code < 400:
            raise _Ended("final", self._nonsense(f"{code} in reply to the message", final=True))
        self.needs_reset = False
        return split_reply(code, text)

    async def _send_blocks(self, content: bytes) -> bytes:
        """Send what is in memory but the last block, which is returned."""
        start = 0
        while len(content) - start > _BLOCK:
            await self._send_block(content[start : start + _BLOCK])
            start += _BLOCK
        return content[start:]

    async def _send_stream(self, content: AsyncIterator[bytes]) -> bytes:
        """The same for content that is read as it goes out."""
        held = b""
        try:
            async for block in content:
                if held:
                    await self._send_block(held)
                held = block
        except BaseException:
            self._wire.abort()  # a connection left in the middle of DATA would take what follows
            raise
        return held

    async def _send_block(self, block: bytes) -> None:
        self._sent += len(block)
        if await self._wire.send_block(block, self._timeouts.data):
            return
        fault = self._wire.fault or _GONE
        if fault.reply is not None and fault.reply[0] >= 400:  # refused before it was all sent
            raise _Ended("content", split_reply(*fault.reply))
        raise self._fault(fault, "content")

    # --- what our own words are

    def _close(self, phase: Phase, reply: Reply) -> list[Answer]:
        answers = self._answers
        if not answers:
            return [Answer(recipient, reply, phase) for recipient in self._recipients]
        return [
            answers.get(index) or Answer(recipient, reply, phase)
            for index, recipient in enumerate(self._recipients)
        ]

    def _fault(self, fault: Fault, phase: Phase) -> _Ended:
        if fault.kind in ("protocol", "unsolicited"):
            reply = self._nonsense(fault.text, final=phase == "final")
            return _Ended(phase, reply, in_doubt=phase != "final")
        what = "was lost" if fault.kind == "lost" else "timed out"
        text = f"the connection to {self._peer} {what} {_MOMENT[phase]}: {fault.text}"
        return _Ended(phase, Reply(451, "4.4.2", printable_text(text)))

    def _nonsense(self, what: str, *, final: bool = False) -> Reply:
        twice = "; the message may be delivered twice" if final else ""
        text = f"{self._peer} does not keep to SMTP: {what}{twice}"
        return Reply(451, "4.5.0", printable_text(text))


def _is_farewell(fault: Fault) -> bool:
    """The peer closed after its reply, saying 421 or not: that takes nothing back."""
    return fault.kind == "lost" or (fault.reply is not None and fault.reply[0] == 421)


_NOBODY = Reply(451, "4.5.0", "no recipient was taken")
_GONE = Fault("lost", "the connection is closed")
_MOMENT: dict[Phase, str] = {
    "mail": "while sending MAIL",
    "rcpt": "while sending RCPT",
    "data": "while sending DATA",
    "content": "in the middle of the message, which was not taken",
    "final": "after the end of the message, before its reply (it may be delivered twice)",
}

"""What follows when a simulated mailbox has taken a message: an auto-reply, or a complaint.

It goes where it would in life, to the return-path. What comes back to one of the relay's own is
read there as any report is (`relay.frontend.evidence`); an auto-reply to the sender's own is mail.

It follows a moment later, when the delivery is settled, so that the complaint is told after the
delivery. A process that dies in that moment takes it with it: what a simulator does need not
outlive it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from relay.feedback.policy import Policies
from relay.frontend.evidence import evidence
from relay.mail.returned_mail import read_returned
from relay.mail.simulated import Sequel, is_simulator_address
from relay.mail.verp import NotOurs, ReturnPath, VerpKey, read
from relay.observe.logging import Logger
from relay.simulator.auto_reply import auto_reply
from relay.simulator.complaint import complaint_report
from relay.store.interface import Outbox, StoreError
from relay.store.values import Accepted, Message, NewMessage, Owner

AFTER_SECONDS = 1.0
MOST_TO_COME = 1_000
_LIFETIME_MS = 30 * 86_400_000


class SequelStore(Protocol):
    """What this needs of the store."""

    @property
    def outbox(self) -> Outbox: ...

    async def find_message(self, message_id: str) -> Message | None: ...

    async def insert(self, new: NewMessage, owner: Owner | None) -> Accepted: ...


class Sequels:
    """Made in a running loop. `queued` is told when mail of a set is due that was stored here;
    `now` gives UTC milliseconds."""

    def __init__(
        self,
        store: SequelStore,
        policies: Policies,
        keys: Sequence[VerpKey],
        *,
        queued: Callable[[int, str], object],
        now: Callable[[], int],
        log: Logger,
        after: float = AFTER_SECONDS,
    ) -> None:
        self._store = store
        self._policies = policies
        self._keys = keys
        self._queued = queued
        self._now = now
        self._log = log
        self._after = after
        self._closing = asyncio.Event()
        self._to_come: dict[tuple[Sequel, str, str], asyncio.Task[None]] = {}

    def reconfigure(self, policies: Policies, keys: Sequence[VerpKey]) -> None:
        self._policies, self._keys = policies, keys

    async def follow(self, sequel: Sequel, reverse_path: str, mailbox: str) -> bool:
        """Have something follow; False where that cannot be promised now. Nothing follows on mail
        under the null reverse-path, nor on what the relay has not sent."""
        try:
            path = self._read(reverse_path)
        except NotOurs:
            return True
        # A message is answered once, however many of its recipients are away (RFC 3834 section 2).
        key = (sequel, path.message_id, "" if sequel == "auto_reply" else mailbox)
        if key in self._to_come:
            return True
        if len(self._to_come) >= MOST_TO_COME:
            return False
        try:
            message = await self._store.find_message(path.message_id)
        except StoreError:
            return False
        if message is not None:
            task = asyncio.create_task(
                self._come(sequel, message, reverse_path, mailbox), name="sequel"
            )
            self._to_come[key] = task
            task.add_done_callback(lambda _: self._to_come.pop(key, None))
        return True

    async def close(self) -> None:
        """Wait for nothing any more: what is to come comes now."""
        self._closing.set()
        await asyncio.gather(*self._to_come.values(), return_exceptions=True)

    async def _come(self, sequel: Sequel, message: Message, return_path: str, mailbox: str) -> None:
        try:
            async with asyncio.timeout(self._after):
                await self._closing.wait()
        except TimeoutError:
            pass  # as it should be
        try:
            if sequel == "complaint":
                await self._complain(message, return_path, mailbox)
            else:
                await self._answer(message, return_path, mailbox)
        except StoreError as error:
            self._log.warning(
                "what should follow simulated mail could not be stored",
                message_id=message.id,
                sequel=sequel,
                error=str(error),
            )

    async def _complain(self, message: Message, return_path: str, mailbox: str) -> None:
        hostname = self._policies.of_set(message.configuration_set).hostname
        report = complaint_report(message, mailbox, return_path, hostname, self._now())
        await self._came_back(report, return_path)

    async def _answer(self, message: Message, return_path: str, mailbox: str) -> None:
        """To the return-path. Where that is the simulator's own, made for want of another, the
        sender's is meant."""
        policy = self._policies.of_set(message.configuration_set)
        answer = auto_reply(message, mailbox, policy, self._now())
        if is_simulator_address(return_path, policy.hostname):
            await self._store.insert(answer, None)
            self._queued(answer.due_at, answer.message.configuration_set)
        else:
            body = answer.message.body.inline or b""
            await self._came_back(answer.message.header + b"\r\n" + body, return_path)

    async def _came_back(self, octets: bytes, return_path: str) -> None:
        """Write down what mail to a return-path of ours is evidence of."""
        try:
            found = evidence(read_returned(octets), self._read(return_path), self._read)
        except NotOurs:  # its key went meanwhile
            return
        for told in found.told:
            await self._store.outbox.add(told.message_id, self._now(), told.what, told.once)

    def _read(self, address: str) -> ReturnPath:
        """Raises `NotOurs`."""
        return read(address, self._keys, now=self._now(), lifetime=_LIFETIME_MS)

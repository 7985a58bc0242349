"""From `354` to the final reply: read the message, have it admitted, have it stored.

The order of things is the promise: `250 Ok <id>` is said only after `accept` has returned, which is
after the message is on stable storage. If the relay dies before, the client has heard nothing and
sends again. If it dies between the store's commit and the reply, the message is sent and the client
sends it again as well: a duplicate, never a loss (RFC 1047).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from relay.admission.submission import Refusal, Submission
from relay.frontend import replies
from relay.frontend.incoming import Incoming, store_answer
from relay.frontend.replies import Answer
from relay.frontend.returns import Returns
from relay.frontend.service import Service
from relay.frontend.visit import Visit
from relay.mail.envelope import Envelope
from relay.mail.message_id import new_message_id
from relay.store.interface import StoreError
from relay.store.values import NewMessage

_PROGRESS = 4_096  # octets within a `data_timeout`, or the end: what slower clients are cut for
_REFUSED_PATIENCE = 10.0  # seconds without octets until a refused message is not read to its end


@dataclass(frozen=True, slots=True)
class Sender:
    """What a client has said of itself, and shown: its EHLO name, its TLS, its credential."""

    helo: str
    tls: str
    credential: str


class Reception:
    """One message, from `354` on. `feed` it until it `is_complete`, then `complete` it; `spill` it
    whenever it `is_full`, before more is fed; `discard` it where its end does not come.

    `now` is always the clock of the deadlines.
    """

    __slots__ = (
        "_envelope",
        "_incoming",
        "_last",
        "_progress",
        "_sender",
        "_service",
        "_timeout",
        "_visit",
        "deadline",
    )

    def __init__(
        self, service: Service, visit: Visit, sender: Sender, envelope: Envelope, now: float
    ) -> None:
        bounds = service.bounds
        self._service = service
        self._visit = visit
        self._sender = sender
        self._envelope = envelope
        self._incoming = Incoming(
            service.store.new_body(),
            service.limits,
            service.budget,
            relaxed=service.relaxed,
        )
        self._last = now + bounds.message_timeout
        self._timeout = bounds.data_timeout
        self._progress = 0
        self.deadline = min(self._last, now + self._timeout)

    @property
    def is_complete(self) -> bool:
        """Whether no more of it is to be read: its end came, or is not worth waiting for."""
        return self._incoming.ended or self._incoming.is_hopeless

    @property
    def is_full(self) -> bool:
        return self._service.returns is None and self._incoming.is_full

    @property
    def is_refused(self) -> bool:
        """Whether it will be refused: it may be completed without its end then."""
        return self._incoming.refusal is not None

    @property
    def rest(self) -> bytes:
        """What came after its end."""
        return self._incoming.rest

    def feed(self, octets: bytes, now: float) -> None:
        """Take the next octets; `deadline` is moved where they are enough."""
        incoming = self._incoming
        incoming.feed(octets)
        self._progress += len(octets)
        if incoming.refusal is not None and incoming.refusal.closes:
            self.deadline = min(self._last, now + _REFUSED_PATIENCE)
        elif self._progress >= _PROGRESS:
            self.go_on(now)

    def go_on(self, now: float) -> None:
        """Give the client its time anew."""
        self._progress = 0
        self.deadline = min(self._last, now + self._timeout)

    async def spill(self) -> None:
        """Hand what is held on to the store."""
        await self._incoming.spill()

    async def discard(self) -> None:
        """Keep nothing."""
        await self._incoming.discard()

    async def complete(self, is_lost: Callable[[], bool]) -> bytes | Answer:
        """Store it: the octets of the final `250`, or the refusal, which closes where the message
        is not all read. `is_lost` tells whether the client is gone."""
        service, visit, sender = self._service, self._visit, self._sender
        incoming = self._incoming
        if service.returns is not None:
            return await self._hand_in(service.returns)
        stored = False
        try:
            admitted = await _admit(service, visit, sender, self._envelope, incoming)
            if isinstance(admitted, Answer):
                return admitted if incoming.ended else replace(admitted, closes=True, is_early=True)
            # From here on an error of unknown kind leaves unknown whether the message was stored:
            # its body is kept, and the store removes it at the next start if nothing refers to it.
            stored = True
            try:
                await service.accept(admitted)
            except StoreError as problem:
                stored = False
                message_id = admitted.message.id
                return _refused(service, visit, sender, message_id, store_answer(problem))
        finally:
            if stored:
                incoming.release()
            else:
                await incoming.discard()
        _tell_accepted(service, visit, admitted, told=not is_lost())
        return replies.accepted(admitted.message.id)

    async def _hand_in(self, returns: Returns) -> bytes | Answer:
        """What came back goes to its desk, and is kept nowhere."""
        incoming = self._incoming
        try:
            octets = await incoming.whole()
            if not isinstance(octets, Answer):
                (recipient,) = self._envelope.recipients
                answer = await returns.take(recipient.address, octets, self._visit.client)
            elif incoming.ended:
                answer = octets
            else:
                answer = replace(octets, closes=True, is_early=True)
        finally:
            await incoming.discard()
        if answer.reason:
            metrics, listener = self._service.metrics, self._visit.listener
            metrics.child(metrics.commands_refused, listener, answer.reason).inc()
            return answer
        return answer.octets


async def _admit(
    service: Service, visit: Visit, sender: Sender, envelope: Envelope, incoming: Incoming
) -> NewMessage | Answer:
    now = service.wall()
    message_id = new_message_id(now)
    content = await incoming.finish()
    if isinstance(content, Answer):
        return _refused(service, visit, sender, message_id, content)
    headers, body = content
    submission = Submission(
        id=message_id,
        received_at=now,
        listener=visit.listener,
        client=visit.client,
        helo=sender.helo,
        tls=sender.tls,
        credential=sender.credential,
        envelope=envelope,
        headers=headers,
        body=body,
        rejected=incoming.rejected,
    )
    try:
        result = await service.admission.admit(submission)
    except StoreError as problem:
        return _refused(service, visit, sender, message_id, store_answer(problem))
    if isinstance(result, Refusal):
        return _refused(service, visit, sender, message_id, Answer(result.reply, result.reason))
    return result


def _refused(
    service: Service, visit: Visit, sender: Sender, message_id: str, answer: Answer
) -> Answer:
    service.metrics.child(service.metrics.messages_refused, sender.credential, answer.reason).inc()
    service.log.info(
        "message refused",
        message_id=message_id,
        credential=sender.credential,
        listener=visit.listener,
        client=visit.client,
        reason=answer.reason,
        reply=str(answer.reply),
    )
    return answer


def _tell_accepted(service: Service, visit: Visit, new: NewMessage, *, told: bool) -> None:
    metrics, message = service.metrics, new.message
    stream = (message.credential, message.configuration_set)
    recipients = len(message.envelope.recipients)
    metrics.child(metrics.messages_accepted, visit.listener, *stream).inc()
    metrics.child(metrics.recipients_accepted, *stream).inc(recipients)
    metrics.child(metrics.bytes_accepted, visit.listener).inc(message.size)
    if new.rejected:
        metrics.child(metrics.messages_rejected, *stream).inc()
    service.log.info(
        "message accepted",
        message_id=message.id,
        credential=message.credential,
        configuration_set=message.configuration_set,
        listener=visit.listener,
        client=visit.client,
        recipients=recipients,
        size=message.size,
        **({"rejected": new.rejected} if new.rejected else {}),
        # Where the client has left, it will send the message again: a duplicate.
        **({} if told else {"reply": "not sent: the client is gone"}),
    )

"""From `354` to the final reply: read the message, have it admitted, have it stored.

The order of things is the promise: `250 Ok <id>` is said only after `accept` has returned, which is
after the message is on stable storage. If the relay dies before, the client has heard nothing and
sends again. If it dies between the store's commit and the reply, the message is sent and the client
sends it again as well: a duplicate, never a loss (RFC 1047).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from relay.admission.submission import Refusal, Submission
from relay.config.model import Bounds
from relay.frontend import replies
from relay.frontend.channel import Channel, TimedOut
from relay.frontend.incoming import Incoming, Limits, store_answer
from relay.frontend.replies import Answer
from relay.frontend.service import Service
from relay.mail.envelope import Envelope
from relay.mail.message_id import new_message_id
from relay.store.interface import StoreError
from relay.store.values import NewMessage

_PROGRESS = 4_096  # octets within a `data_timeout`, or the end: what slower clients are cut for
_REFUSED_PATIENCE = 10.0  # seconds without octets until a refused message is not read to its end


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: what a submission says of the session it came in."""

    listener: str
    client: str
    helo: str
    tls: str
    credential: str


async def take_message(
    service: Service,
    channel: Channel,
    sender: Sender,
    envelope: Envelope,
    clock: Callable[[], float],
) -> bytes | Answer:
    """Read and store one message: the octets of the final `250`, or the refusal.

    Raises `ConnectionLost` or `TimedOut` where the message did not come to its end; nothing of it
    is kept then.
    """
    bounds = service.bounds
    incoming = Incoming(
        service.store.new_body(),
        Limits(bounds.message_size, bounds.header_size),
        service.budget,
        relaxed=service.relaxed,
    )
    stored = False
    try:
        await _read(channel, incoming, bounds, clock)
        admitted = await _admit(service, sender, envelope, incoming)
        if isinstance(admitted, Answer):
            return admitted if incoming.ended else replace(admitted, closes=True, is_early=True)
        # From here on an error of unknown kind leaves unknown whether the message was stored:
        # its body is kept, and the store removes it at the next start if nothing refers to it.
        stored = True
        try:
            await service.accept(admitted)
        except StoreError as problem:
            stored = False
            return _refused(service, sender, admitted.message.id, store_answer(problem))
    finally:
        if stored:
            incoming.release()
        else:
            await incoming.discard()
    _tell_accepted(service, sender, admitted, told=not channel.is_lost)
    return replies.accepted(admitted.message.id)


async def _read(
    channel: Channel, incoming: Incoming, bounds: Bounds, clock: Callable[[], float]
) -> None:
    """Feed `incoming` to the end of the message.

    A message that is refused already may stop short of its end; the connection is then closed.
    """
    last = clock() + bounds.message_timeout
    channel.deadline = min(last, clock() + bounds.data_timeout)
    progress = 0
    while not incoming.ended and not incoming.is_hopeless:
        if incoming.refusal is not None and incoming.refusal.closes:
            channel.deadline = min(last, clock() + _REFUSED_PATIENCE)
        try:
            chunk = await channel.chunk()
        except TimedOut:
            if incoming.refusal is not None:
                return
            raise
        await incoming.feed(chunk)
        progress += len(chunk)
        if progress >= _PROGRESS:
            progress = 0
            channel.deadline = min(last, clock() + bounds.data_timeout)
    channel.put_back(incoming.rest)


async def _admit(
    service: Service, sender: Sender, envelope: Envelope, incoming: Incoming
) -> NewMessage | Answer:
    now = service.wall()
    message_id = new_message_id(now)
    content = await incoming.finish()
    if isinstance(content, Answer):
        return _refused(service, sender, message_id, content)
    headers, body = content
    submission = Submission(
        id=message_id,
        received_at=now,
        listener=sender.listener,
        client=sender.client,
        helo=sender.helo,
        tls=sender.tls,
        credential=sender.credential,
        envelope=envelope,
        headers=headers,
        body=body,
    )
    try:
        result = await service.admission.admit(submission)
    except StoreError as problem:
        return _refused(service, sender, message_id, store_answer(problem))
    if isinstance(result, Refusal):
        return _refused(service, sender, message_id, Answer(result.reply, result.reason))
    return result


def _refused(service: Service, sender: Sender, message_id: str, answer: Answer) -> Answer:
    service.metrics.child(service.metrics.messages_refused, sender.credential, answer.reason).inc()
    service.log.info(
        "message refused",
        message_id=message_id,
        credential=sender.credential,
        listener=sender.listener,
        client=sender.client,
        reason=answer.reason,
        reply=str(answer.reply),
    )
    return answer


def _tell_accepted(service: Service, sender: Sender, new: NewMessage, *, told: bool) -> None:
    metrics, message = service.metrics, new.message
    stream = (message.credential, message.configuration_set)
    recipients = len(message.envelope.recipients)
    metrics.child(metrics.messages_accepted, sender.listener, *stream).inc()
    metrics.child(metrics.recipients_accepted, *stream).inc(recipients)
    metrics.child(metrics.bytes_accepted, sender.listener).inc(message.size)
    service.log.info(
        "message accepted",
        message_id=message.id,
        credential=message.credential,
        configuration_set=message.configuration_set,
        listener=sender.listener,
        client=sender.client,
        recipients=recipients,
        size=message.size,
        # Where the client has left, it will send the message again: a duplicate.
        **({} if told else {"reply": "not sent: the client is gone"}),
    )

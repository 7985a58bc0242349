"""One message as `relay queue show` tells it: in the queue, or what became of it. Pure."""

from collections.abc import Sequence

from relay.admin.control import QueueDetail, Whereabouts
from relay.mail.message_id import accepted_at
from relay.store.values import Attempt, Message, QueueEntry


def queued(
    message: Message, deliveries: Sequence[QueueEntry], attempts: Sequence[Attempt]
) -> QueueDetail:
    """A message that is in the queue."""
    return QueueDetail(
        message_id=message.id,
        accepted_at=message.accepted_at,
        expires_at=message.expires_at,
        credential=message.credential,
        configuration_set=message.configuration_set,
        identity=message.identity,
        reverse_path=message.envelope.reverse_path,
        recipients=tuple(recipient.address for recipient in message.envelope.recipients),
        size=message.size,
        header=message.header.decode("utf-8", "backslashreplace"),
        tags=message.tags,
        deliveries=tuple(deliveries),
        attempts=tuple(attempts),
    )


def gone(message_id: str, attempts: Sequence[Attempt]) -> QueueDetail:
    """A message that has left the queue, from what is kept of its attempts; there is at least
    one."""
    named = (name for a in attempts for result in a.results for name in result.recipients)
    return QueueDetail(
        message_id=message_id,
        accepted_at=accepted_at(message_id),
        expires_at=0,
        credential="",
        configuration_set="",
        identity="",
        reverse_path="",
        recipients=tuple(dict.fromkeys(named)),
        size=0,
        header="",
        tags=(),
        deliveries=(),
        attempts=tuple(attempts),
        whereabouts=whereabouts(attempts),
        ended_at=attempts[-1].at + round(attempts[-1].seconds * 1000),
    )


def whereabouts(attempts: Sequence[Attempt]) -> Whereabouts:
    """What became of a message that is not queued any more.

    A recipient that was deferred last must have been delivered since, or given up: that is not
    kept. What was delivered or bounced stays so, whatever became of others later.
    """
    last = {attempt.delivery_id: attempt for attempt in attempts}
    ended = {r.kind for a in attempts for r in a.results if r.kind != "deferred"}
    if any(r.kind == "deferred" for a in last.values() for r in a.results):
        return "gone"
    if ended == {"delivered", "bounced"}:
        return "partly bounced"
    return "bounced" if ended == {"bounced"} else "delivered"

"""The deliveries of a new message, and the rows that they are stored as. Pure, for every store."""

from relay.mail.envelope import Recipient
from relay.store.codec import by_domain, encode_recipients
from relay.store.values import Delivery, NewMessage

DELIVERY_BITS = 20
"""Of a delivery's id, below that of its message."""

DeliveryRow = tuple[int, str, int, int | None, str, int, int, bytes]
"""Id, domain, due time, epoch, configuration set, when accepted, when expired, recipients."""


def deliveries_of(
    row: int,
    new: NewMessage,
    recipients: tuple[Recipient, ...],
    epoch: int,
    pending: list[DeliveryRow],
) -> tuple[Delivery, ...]:
    """The deliveries of a message; their rows are added to `pending`."""
    message = new.message
    deliveries = []
    for identifier, (domain, group) in enumerate(
        by_domain(recipients).items(), row << DELIVERY_BITS
    ):
        deliveries.append(Delivery(identifier, message, domain, group, new.due_at, epoch=epoch))
        pending.append(
            (
                identifier,
                domain,
                new.due_at,
                epoch or None,
                message.configuration_set,
                message.accepted_at,
                message.expires_at,
                encode_recipients(group),
            )
        )
    return tuple(deliveries)

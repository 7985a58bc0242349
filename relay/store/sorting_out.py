"""Which recipients of new messages are sent to, and which are not and why. Pure, for every store:
the store reads the entries of the suppression list in the transaction of the insert."""

from collections.abc import Mapping, Sequence

from relay.mail.address import suppression_key
from relay.mail.envelope import Recipient
from relay.store.values import NewMessage, Suppressed, SuppressionReason

SortedOut = tuple[tuple[Recipient, ...], tuple[Suppressed, ...]]
"""Those that are sent to, and those that are not; of a message that is rejected neither."""


def keys_of(news: Sequence[NewMessage]) -> dict[str, str]:
    """The keys, by address, under which the suppression list is to be asked."""
    return {
        recipient.address: suppression_key(recipient.address)
        for new in news
        if new.suppression
        for recipient in new.message.envelope.recipients
    }


def sort_out(
    news: Sequence[NewMessage],
    keys: Mapping[str, str],
    entries: Mapping[str, tuple[SuppressionReason, int | None]],
) -> list[SortedOut]:
    """The recipients of each message, by reason and expiry (UTC ms) of the keys that are listed."""
    if not entries and not any(new.withheld or new.rejected for new in news):
        return [(new.message.envelope.recipients, ()) for new in news]
    sorted_out: list[SortedOut] = []
    for new in news:
        if new.rejected:
            sorted_out.append(((), ()))
            continue
        kept = []
        suppressed = []
        for recipient in new.message.envelope.recipients:
            entry = entries.get(keys.get(recipient.address, ""))
            reason = "bounce" if recipient.address in new.withheld else _reason(new, entry)
            if reason is None:
                kept.append(recipient)
            else:
                suppressed.append(Suppressed(recipient.address, reason))
        sorted_out.append((tuple(kept), tuple(suppressed)))
    return sorted_out


def _reason(
    new: NewMessage, entry: tuple[SuppressionReason, int | None] | None
) -> SuppressionReason | None:
    """Why a recipient with this entry is not sent this message; None when it is."""
    if entry is None:
        return None
    reason, expires_at = entry
    in_force = expires_at is None or expires_at > new.message.accepted_at
    return reason if in_force and reason in new.suppression else None

"""What was observed of an address, as the entry of the suppression list that follows. Pure.

One place for bounces of an attempt, bounces that come later, and complaints. Whether and how long
an entry stays is the word of the configuration set; what becomes of an entry that is there already
is `relay.store.suppression_rules`.
"""

from relay.config.suppression import ObservedReason
from relay.feedback.outcome import REPLY_CHARACTERS
from relay.feedback.policy import Policy
from relay.mail.enhanced import printable_text
from relay.store.values import SuppressionEntry

_HOST_CHARACTERS = 255


def observed_entry(
    policy: Policy,
    reason: ObservedReason,
    address: str,
    *,
    at: int,
    message_id: str,
    diagnostic: str,
    remote_host: str = "",
) -> SuppressionEntry | None:
    """The entry for what was observed at `at` (UTC ms); None where the configuration set does not
    have such outcomes added. `diagnostic` and `remote_host` may be any text of a stranger."""
    if reason not in policy.suppresses:
        return None
    first, most = policy.bounces_last or (0, 0)
    lasts = reason == "bounce" and policy.bounces_last is not None
    return SuppressionEntry(
        address=address,
        reason=reason,
        source=reason,
        created_at=at,
        evidence=printable_text(diagnostic, REPLY_CHARACTERS),
        expires_at=at + first if lasts else None,
        message_id=message_id,
        remote_host=printable_text(remote_host, _HOST_CHARACTERS),
        seen_at=at,
        lasts_at_most=most if lasts else 0,
    )

"""What an event adds to what reputation counts. Pure.

A recipient counts as sent to once there is an outcome: delivered, or bounced; so that what still
waits dilutes nothing, and each counts in the hour in which it was known. A report that comes later
adds the bounce and not the recipient again. What does not count: mail of the mailbox simulator, the
relay's own reports, recipients that are suppressed, and recipients at the relay's own domains (SES
leaves out verified domains, too).
"""

from collections.abc import Collection, Iterator

from relay.config.names import RESERVED_CREDENTIAL
from relay.mail.envelope import domain_of
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DeliveryFacts,
    LoggedEvent,
    LoggedMessage,
    Tally,
    Way,
)

HOUR_MS = 3_600_000
ACCOUNT = "account"
_SUPPRESSED = "OnAccountSuppressionList"


def tallies_of(
    event: LoggedEvent, message: LoggedMessage, own_domains: Collection[str]
) -> tuple[Tally, ...]:
    """What an event of `message` adds, a tally for each dimension; nothing where it counts not."""
    facts = event.facts
    if not isinstance(facts, DeliveryFacts | BounceFacts | ComplaintFacts):
        return ()
    if message.is_simulated or message.credential == RESERVED_CREDENTIAL:
        return ()
    if not isinstance(facts, DeliveryFacts) and facts.subtype == _SUPPRESSED:
        return ()
    count = sum(domain_of(address) not in own_domains for address in event.recipients)
    if not count:
        return ()
    sent = bounced = complained = 0
    if isinstance(facts, ComplaintFacts):
        complained = count if facts.counts else 0
    elif isinstance(facts, BounceFacts):
        sent = 0 if facts.is_returned else count
        bounced = count if facts.counts else 0
    else:
        sent = count
    if not (sent or bounced or complained):
        return ()
    hour = event.at // HOUR_MS
    return tuple(
        Tally(dimension, hour, sent, bounced, complained)
        for dimension in _dimensions(message, facts.way)
    )


def _dimensions(message: LoggedMessage, way: Way) -> Iterator[str]:
    yield ACCOUNT
    for kind, name in (
        ("set", message.configuration_set),
        ("credential", message.credential),
        ("identity", message.identity),
        ("pool", way.pool),
        ("source", way.source),
        ("provider", way.provider),
    ):
        if name:
            yield f"{kind}:{name}"

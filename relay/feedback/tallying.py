"""What an event adds to what reputation counts. Pure.

A recipient counts as sent to once there is an outcome: delivered, or bounced; so that what still
waits dilutes nothing, and each counts in the hour in which it was known. A report that comes later
adds the bounce and not the recipient again. What does not count: mail of the mailbox simulator, the
relay's own reports, recipients that are suppressed, and recipients at the relay's own domains (SES
leaves out verified domains, too).
"""

from collections.abc import Collection, Iterator, Sequence

from relay.config.names import RESERVED_CREDENTIAL
from relay.mail.envelope import domain_of
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DeliveryFacts,
    LoggedEvent,
    LoggedMessage,
    Tally,
)

HOUR_MS = 3_600_000
ACCOUNT = "account"
_SUPPRESSED = "OnAccountSuppressionList"
_KINDS = ("set", "credential", "identity", "pool", "source", "provider")


_Stream = tuple[int, str, str, str, str, str, str]
"""An hour, and the names of the dimensions in the order of `_KINDS`."""


class Tallies:
    """Adds up what events add: once for each stream, and for its dimensions only in the end."""

    def __init__(self, own_domains: Collection[str]) -> None:
        self._own_domains = own_domains
        self._streams: dict[_Stream, list[int]] = {}

    def add(self, event: LoggedEvent, message: LoggedMessage) -> None:
        """Count an event of `message`, where it counts."""
        facts = event.facts
        if not isinstance(facts, DeliveryFacts | BounceFacts | ComplaintFacts):
            return
        sent, bounced, complained = _counts(facts)
        if not (sent or bounced or complained):
            return
        if message.is_simulated or message.credential == RESERVED_CREDENTIAL:
            return
        own = self._own_domains
        count = len([1 for address in event.recipients if domain_of(address) not in own])
        way = facts.way
        stream = (
            event.at // HOUR_MS,
            message.configuration_set,
            message.credential,
            message.identity,
            way.pool,
            way.source,
            way.provider,
        )
        counts = self._streams.get(stream)
        if counts is None:
            counts = self._streams[stream] = [0, 0, 0]
        counts[0] += count * sent
        counts[1] += count * bounced
        # Where nobody knows whose complaint it is, it names all who have the message: it is one.
        counts[2] += min(count, 1) * complained

    def sums(self) -> tuple[Tally, ...]:
        """One for each dimension and hour."""
        sums: dict[tuple[str, int], Tally] = {}
        for (hour, *names), counts in self._streams.items():
            if not any(counts):
                continue
            for dimension in _dimensions(names):
                tally = Tally(dimension, hour, *counts)
                known = sums.get((dimension, hour))
                sums[dimension, hour] = tally if known is None else known + tally
        return tuple(sums.values())


def _counts(facts: DeliveryFacts | BounceFacts | ComplaintFacts) -> tuple[int, int, int]:
    """What each of its recipients adds, as sent to and as a bounce; what it adds as a complaint."""
    if isinstance(facts, DeliveryFacts):
        return 1, 0, 0
    if facts.subtype == _SUPPRESSED:
        return 0, 0, 0
    if isinstance(facts, ComplaintFacts):
        return 0, 0, int(facts.counts)
    return int(not facts.is_returned), int(facts.counts), 0


def _dimensions(names: Sequence[str]) -> Iterator[str]:
    yield ACCOUNT
    for kind, name in zip(_KINDS, names, strict=True):
        if name:
            yield f"{kind}:{name}"

"""From what the outbox holds to what is filed: messages, events, tallies, and who is suppressed.

Pure. The same entries give the same filing, whoever makes it and how often, so that a process that
dies in between begins again with them and invents nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.events.making import events_of, logged_message
from relay.feedback.policy import Policies
from relay.feedback.returned import understand
from relay.feedback.tallying import Tallies
from relay.store.happenings import Complained, OutboxEntry, Returned, Sent, Unreadable
from relay.store.log_values import Filing, LoggedEvent, LoggedMessage
from relay.store.values import SuppressionEntry

_KEPT = 20_000
_KEPT_OCTETS = 32_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """By what is judged: the name of this relay, the policies of its configuration sets, and the
    domains of its own identities."""

    hostname: str
    policies: Policies
    own_domains: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Made:
    """A filing; and what is to be suppressed before it is filed."""

    filing: Filing
    suppress: tuple[SuppressionEntry, ...] = ()


class Memory:
    """The messages of late, at most so many with header blocks of so many octets in all: most of
    what happens, happens to them."""

    def __init__(self, most: int = _KEPT, most_octets: int = _KEPT_OCTETS) -> None:
        self._most = most
        self._most_octets = most_octets
        self._octets = 0
        self._messages: dict[str, LoggedMessage] = {}

    def get(self, message_id: str) -> LoggedMessage | None:
        return self._messages.get(message_id)

    def put(self, messages: Mapping[str, LoggedMessage]) -> None:
        """The oldest go where there are too many."""
        for message_id, message in messages.items():
            if message_id not in self._messages:
                self._messages[message_id] = message
                self._octets += len(message.header)
        while len(self._messages) > self._most or self._octets > self._most_octets:
            gone = self._messages.pop(next(iter(self._messages)))
            self._octets -= len(gone.header)


def strangers(entries: Sequence[OutboxEntry], memory: Memory) -> set[str]:
    """Ids of the messages that have to be looked up to make a filing of these entries."""
    here = {entry.message_id for entry in entries if isinstance(entry.what, Sent)}
    return {
        entry.message_id
        for entry in entries
        if entry.message_id not in here and memory.get(entry.message_id) is None
    } - {""}


def told_from_outside(entries: Sequence[OutboxEntry]) -> set[str]:
    """Ids of the messages whose earlier events are needed."""
    return {e.message_id for e in entries if isinstance(e.what, Returned | Complained)}


def make_filing(
    outbox: str,
    entries: Sequence[OutboxEntry],
    memory: Memory,
    past: Mapping[str, Sequence[LoggedEvent]],
    rules: Rules,
) -> Made:
    """What is filed of `entries` of an outbox. `memory` knows all their messages that are known; it
    learns the new ones. `past` has the earlier events of those that `told_from_outside` names."""
    messages: list[LoggedMessage] = []
    events: list[LoggedEvent] = []
    tallies = Tallies(rules.own_domains)
    suppress: list[SuppressionEntry] = []
    for entry in entries:
        what = entry.what
        if isinstance(what, Sent):
            message: LoggedMessage | None = logged_message(entry, rules.hostname)
            assert message is not None
            memory.put({message.id: message})
            messages.append(message)
        else:
            message = memory.get(entry.message_id)
        if isinstance(what, Unreadable):
            continue
        if isinstance(what, Returned | Complained):
            earlier = [e for e in events if e.message_id == entry.message_id]
            understood = understand(
                entry,
                message,
                (*past.get(entry.message_id, ()), *earlier),
                policies=rules.policies,
                hostname=rules.hostname,
            )
            made = understood.events
            suppress += understood.suppress
        else:
            made = events_of(entry, message, rules.hostname)
        events += made
        if message is not None:
            for event in made:
                tallies.add(event, message)
    filing = Filing(outbox, entries[-1].id, tuple(messages), tuple(events), tallies.sums())
    return Made(filing, tuple(suppress))

"""Counters in the relay's own metrics, with SES's CloudWatch dimensions as labels."""

from collections import defaultdict
from collections.abc import Sequence

from relay.config.events import Dimension, PrometheusCounters
from relay.events.notification import Notification
from relay.events.patience import Outcome, Told
from relay.mail.encoded_words import decode_words
from relay.mail.enhanced import printable_text
from relay.mail.headers import HeaderError, Headers
from relay.observe.sending_events import SendingEvents
from relay.store.log_values import LoggedMessage

OTHER = "other"
_LONGEST = 64


class CountersDestination:
    """Counts recipients, by destination, type of event and dimensions. Of each dimension it knows
    so many values; further ones are `other`, so that no sender can fill the memory."""

    batch = 500
    concurrency = 1

    def __init__(self, name: str, config: PrometheusCounters, counters: SendingEvents) -> None:
        self._name = name
        self._dimensions = config.dimensions
        self._most = config.most_values
        self._counters = counters
        self._known: dict[str, set[str]] = defaultdict(set)

    async def tell(self, notifications: Sequence[Notification]) -> Sequence[Outcome]:
        for notification in notifications:
            event, message = notification.event, notification.message
            labels = (
                ("destination", self._name),
                ("type", event.type),
                *((one.name, self._value(one, message)) for one in self._dimensions),
            )
            self._counters.add(labels, max(1, len(event.recipients)))
        return [Told("counted")] * len(notifications)

    async def close(self) -> None:
        """Nothing is open."""

    def _value(self, dimension: Dimension, message: LoggedMessage | None) -> str:
        value = value_of(dimension, message)
        known = self._known[dimension.name]
        if value not in known:
            if len(known) >= self._most and value != dimension.default:
                return OTHER
            known.add(value)
        return value


def value_of(dimension: Dimension, message: LoggedMessage | None) -> str:
    """What a message has for a dimension: the first such tag or header field, in any case."""
    if message is None:
        return dimension.default
    key = (dimension.key or dimension.name).lower()
    if dimension.source == "tag":
        found = next((value for name, value in message.tags if name.lower() == key), "")
    else:
        try:
            found = decode_words(Headers.parse(message.header).first(key) or "")
        except HeaderError:
            found = ""
    return printable_text(found.strip(), _LONGEST) or dimension.default

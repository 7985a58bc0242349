"""An event as destinations are told it."""

from dataclasses import dataclass
from functools import cached_property

from relay.events.ses import render
from relay.store.log_values import LoggedEvent, LoggedMessage


@dataclass(frozen=True)
class Notification:
    """An event with what the log knows of its message, None where it belongs to none. `hostname`
    is the relay's. It is rendered once for all destinations."""

    event: LoggedEvent
    message: LoggedMessage | None
    hostname: str

    @cached_property
    def content(self) -> bytes:
        """SES's JSON, on one line without a line end."""
        return render(self.event, self.message, self.hostname)

    @property
    def configuration_set(self) -> str:
        """Of the message; empty where there is none."""
        return self.message.configuration_set if self.message else ""

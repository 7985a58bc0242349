"""Which adapter a section of the configuration means."""

import sys

import pytest

from relay.config.events import NatsStream
from relay.events.destinations.interface import DestinationError
from relay.events.destinations.making import make_destination
from relay.observe.sending_events import SendingEvents


def test_the_client_of_a_stream_that_is_missing_is_told_when_it_is_needed(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("relay.events.destinations.nats")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nats.aio.client", None)
    config = NatsStream(type="nats", servers=("nats://a.test",))
    with pytest.raises(DestinationError, match=r"pip install 'relay\[nats\]'"):
        make_destination("stream", config, SendingEvents(), lambda: 0)

"""What is ordered at one node is in force at the other within a second: measured at its port.

The clock of the other node is an hour ahead of the database's, which nobody may notice.
"""

import smtplib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relay.admin.client import Client
from relay.admin.control import CredentialRequest, NewSecret
from relay.admin.endpoints import (
    CONFIG_PUBLISH,
    CREDENTIALS_ADD,
    CREDENTIALS_REVOKE,
    QUEUE_LIST,
    SUPPRESSION_ADD,
    SUSPEND,
    Nothing,
)
from relay.admin.suppression import SuppressRequest
from relay.admin.suspensions import SuspendRequest
from relay.store.values import QueueFilter, SuppressionEntry
from tests.e2e.host import Host
from tests.e2e.program import Program, letter, wait_until
from tests.e2e.receiver import Receiver

HOUR = 3_600
SOON_S = 3.0  # on a busy machine; what is measured is a fraction of a second
SILENT_S = 0.5  # after which a stream of mail has stopped
SECRET = "another password that is long enough"


def takes(order: Callable[[], object], seen: Callable[[], bool]) -> float:
    """Seconds from when an order is given until a session begins that sees it. How long that one
    lasts is another matter: a wrong password is answered late."""
    began = asked = time.monotonic()
    order()
    while True:
        asked = time.monotonic()
        if seen():
            return asked - began
        assert asked < began + SOON_S


def logs_in(node: Program, password: str) -> bool:
    with node.client(login=False) as client:
        try:
            client.login("app", password)
        except smtplib.SMTPAuthenticationError:
            return False
    return True


def size_of(node: Program) -> str:
    with node.client(login=False) as client:
        return client.esmtp_features["size"]


def test_orders_given_at_one_node_are_in_force_at_the_other_within_a_second(
    nodes: tuple[Program, Program], receiver: Receiver, tmp_path: Path
) -> None:
    a, b = nodes
    host = Host(tmp_path / "host", ahead=HOUR)
    with ThreadPoolExecutor() as at_once:
        starting = [at_once.submit(a.start), at_once.submit(b.start, env=host.env)]
    for start in starting:
        start.result()
    control = Client(a.directory / "data")
    took: dict[str, float] = {}

    # A password: that it is good, and that it is no more.
    took["password added"] = takes(
        lambda: control.call(CREDENTIALS_ADD, NewSecret("app", SECRET)), lambda: logs_in(b, SECRET)
    )
    took["password revoked"] = takes(
        lambda: control.call(CREDENTIALS_REVOKE, CredentialRequest("app")),
        lambda: not logs_in(b, SECRET),
    )

    # A configuration: b announces another SIZE.
    a.configure(lambda document: document.setdefault("bounds", {}).update(message_size="5MB"))
    took["configuration published"] = takes(
        lambda: control.call(CONFIG_PUBLISH, Nothing()), lambda: size_of(b) == "5000000"
    )

    # The suppression list and suspensions: mail goes out of b until then, and not after.
    def stops(order: Callable[[], object], recipient: str) -> float:
        """Seconds from when an order is given until the last mail comes in, of a stream of it."""

        def arrived() -> list[float]:
            mail = list(receiver.messages)
            return [message.at for message in mail if message.recipients == (recipient,)]

        with b.client() as client:

            def send() -> None:
                client.sendmail("app@sender.test", [recipient], letter())

            send()
            wait_until(arrived, what="mail goes")
            ordered = time.monotonic()
            order()
            while time.monotonic() < max(ordered, *arrived()) + SILENT_S:
                assert time.monotonic() < ordered + SOON_S, f"mail to {recipient} still goes"
                send()
        return max(0.0, max(arrived()) - ordered)

    gone = SuppressRequest((SuppressionEntry("gone@dest.test", "bounce", "operator", 1),))
    took["suppressed"] = stops(lambda: control.call(SUPPRESSION_ADD, gone), "gone@dest.test")
    wait = SuspendRequest("domain", "wait.test", "test")
    took["suspended"] = stops(lambda: control.call(SUSPEND, wait), "to@wait.test")

    print({order: round(seconds, 3) for order, seconds in took.items()})
    assert max(took.values()) < SOON_S

    # An hour ahead, b has mail due and dated as the others would.
    receiver.behave = lambda stage, text: "451 4.3.0 later" if stage == "rcpt" else None
    b.send(["to@later.test"])
    late = QueueFilter(domain="later.test")

    def deferred():
        return [one for one in control.call(QUEUE_LIST, late) if one.attempts]

    wait_until(deferred, what="the first attempt")
    (entry,) = deferred()
    now = time.time() * 1000
    assert abs(now - entry.accepted_at) < 60_000
    assert now < entry.due_at < now + HOUR * 500
    assert b.metric("relay_fleet_clock_offset_seconds") == pytest.approx(HOUR, abs=2)
    assert a.metric("relay_fleet_clock_offset_seconds") == pytest.approx(0, abs=2)
    assert "the clock of this host is not that of the store" in b.log()

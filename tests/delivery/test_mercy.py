"""Mail that grew too old while no relay ran is tried all the same."""

from dataclasses import replace

from relay.delivery.claiming import MERCY_MS, spare
from relay.store.values import Delivery
from tests.delivery.outgoing import make_message

BEGAN = 1_800_000_000_000


def aged(expires_at: int) -> Delivery:
    message = replace(make_message("x@dest.test"), expires_at=expires_at)
    return Delivery(1, message, "dest.test", message.envelope.recipients, due_at=BEGAN)


def test_mail_that_expired_before_the_start_has_some_minutes() -> None:
    spared = spare(aged(BEGAN - 1), BEGAN, BEGAN + 10)
    assert spared.message.expires_at == BEGAN + MERCY_MS


def test_mail_that_expires_while_the_relay_runs_has_none() -> None:
    delivery = aged(BEGAN + 1)
    assert spare(delivery, BEGAN, BEGAN + 10) is delivery


def test_mercy_ends() -> None:
    delivery = aged(BEGAN - 1)
    assert spare(delivery, BEGAN, BEGAN + MERCY_MS) is delivery

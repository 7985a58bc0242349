"""When waiting mail is too old, whatever it waits for."""

from dataclasses import replace

import pytest

from relay.delivery.endings import is_expired
from relay.store.values import Delivery
from tests.delivery.outgoing import make_message

EXPIRES = 1_800_000_000_000


@pytest.mark.parametrize(
    ("now", "due_at", "attempts", "expired"),
    [
        (EXPIRES - 1, EXPIRES - 10, 0, False),
        (EXPIRES, EXPIRES - 10, 0, True),
        (EXPIRES, EXPIRES - 10, 3, True),
        (EXPIRES + 5, EXPIRES + 1, 0, True),
        (EXPIRES + 5, EXPIRES + 1, 1, True),
    ],
)
def test_no_mail_grows_older_than_it_may(
    now: int, due_at: int, attempts: int, expired: bool
) -> None:
    message = replace(make_message("x@dest.test"), expires_at=EXPIRES)
    delivery = Delivery(
        1, message, "dest.test", message.envelope.recipients, due_at=due_at, attempts=attempts
    )
    assert is_expired(delivery, now) is expired

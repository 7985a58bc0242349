"""Deliveries to settle, and the policies they are settled by."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.config.model import Config
from relay.feedback.policy import Policies
from relay.mail.envelope import Envelope, Recipient
from relay.store.values import Body, Delivery, Message

NOW = 1_800_000_000_000
HOUR = 3_600_000


@pytest.fixture(scope="session")
def make_policies() -> Callable[..., Policies]:
    def make(**sections: Any) -> Policies:
        values: dict[str, Any] = {
            "hostname": "relay.example.com",
            "data_dir": Path("/nonexistent"),
            "tls": {"certificate": Path("c.pem"), "key": Path("k.pem")},
            "listeners": {"submission": {"address": "192.0.2.1:587"}},
            "identities": {"example.com": {}},
            "configuration_sets": {"news": {"pool": "main", "suppression": ["bounce"]}},
            "pools": {"main": {"sources": [{"address": "198.51.100.2"}]}},
        }
        return Policies.of(Config.model_validate({**values, **sections}))

    return make


@pytest.fixture(scope="session")
def policies(make_policies: Callable[..., Policies]) -> Policies:
    return make_policies()


@pytest.fixture(scope="session")
def make_delivery() -> Callable[..., Delivery]:
    """A delivery of a message that was accepted at `NOW` and lives for ten hours."""

    def make(
        *recipients: Recipient | str,
        reverse_path: str = "ann@example.com",
        attempts: int = 0,
        expires_at: int = NOW + 10 * HOUR,
        body: bytes | None = b"Hello\r\n",
        configuration_set: str = "news",
        last_reply: str = "",
        **envelope: Any,
    ) -> Delivery:
        listed = tuple(Recipient(r) if isinstance(r, str) else r for r in recipients)
        message = Message(
            id="0100018f00000000-00000000-0000-4000-8000-000000000000-000000",
            accepted_at=NOW,
            expires_at=expires_at,
            envelope=Envelope(reverse_path, listed, **envelope),
            credential="app",
            configuration_set=configuration_set,
            identity="example.com",
            header=b"From: ann@example.com\r\nSubject: Hi\r\n",
            body=Body(size=7, simple_digest=b"", inline=body),
        )
        return Delivery(
            id=1,
            message=message,
            domain="example.org",
            recipients=listed,
            due_at=NOW,
            attempts=attempts,
            epoch=1,
            last_reply=last_reply,
        )

    return make

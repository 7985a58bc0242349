"""A configuration with a bit of everything, and submissions made from what differs."""

from collections.abc import Callable

import pytest

from relay.admission.policy import Policy
from relay.admission.submission import Submission
from relay.config.model import Config
from relay.mail.envelope import Envelope, Recipient
from relay.mail.headers import Headers
from relay.store.values import Body

NOW = 1_800_000_000_000

CONFIG = {
    "hostname": "relay.test",
    "data_dir": "/var/lib/relay",
    "tls": {"certificate": "/tls/cert.pem", "key": "/tls/key.pem"},
    "listeners": {"submission": {"address": "127.0.0.1:2587"}},
    "bounds": {"message_size": 100_000, "header_size": 50_000, "recipients": 10},
    "credentials": {
        "app": {"configuration_set": "transactional"},
        "shop": {"identities": ["shop.test"], "configuration_sets": ["transactional", "paused"]},
        "off": {"enabled": False},
        "bare": {},
        "one-set": {"configuration_sets": ["marketing"]},
    },
    "identities": {
        "sender.test": {},
        "shop.test": {"configuration_set": "marketing"},
        "orders@shop.test": {"configuration_set": "transactional"},
        "plain@shop.test": {},
        "jane@single.test": {},
    },
    "configuration_sets": {
        "transactional": {"pool": "main", "max_age": "1h", "suppression": ["bounce"]},
        "marketing": {"pool": "main"},
        "paused": {"pool": "main", "sending": False},
    },
    "pools": {"main": {"sources": [{"address": "127.0.0.2"}]}},
}


def make_submission(
    header: str | bytes = "From: Ann <ann@sender.test>\r\n",
    *,
    credential: str = "app",
    reverse_path: str = "ann@sender.test",
    recipients: int = 1,
    body_size: int = 100,
    smtputf8: bool = False,
) -> Submission:
    """An ordinary message but for what is given. `header` ends its lines with CRLF."""
    block = header.encode() if isinstance(header, str) else header
    return Submission(
        id="0100019e8b2fc000-8e0cc2b5-5a4c-4a3e-a1a4-0d8f5d4b1f10-000000",
        received_at=NOW,
        listener="submission",
        client="192.0.2.7",
        helo="app.internal",
        tls="TLSv1.3",
        credential=credential,
        envelope=Envelope(
            reverse_path,
            tuple(Recipient(f"r{i}@example.org") for i in range(recipients)),
            smtputf8=smtputf8,
        ),
        headers=Headers.parse(block),
        body=Body(body_size, b"digest"),
    )


@pytest.fixture
def config() -> Config:
    return Config.model_validate(CONFIG)


@pytest.fixture
def policy(config: Config) -> Policy:
    return Policy.of(config, config.hostname)


@pytest.fixture(scope="session")
def submission() -> Callable[..., Submission]:
    return make_submission


@pytest.fixture(scope="session")
def configured() -> Callable[..., Config]:
    """The configuration with some top-level keys replaced."""

    def make(**changes: object) -> Config:
        return Config.model_validate({**CONFIG, **changes})

    return make

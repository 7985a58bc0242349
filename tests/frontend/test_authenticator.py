import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from relay.config import passwords
from relay.config.model import Config
from relay.frontend.authenticator import (
    AuthenticationUnavailable,
    Authenticator,
    Known,
    is_within,
)
from relay.store.secrets import new_secret

HASH = passwords.hash_password("hashed secret")
CLIENT = "192.0.2.7"


@pytest.fixture
async def authenticator() -> AsyncIterator[Authenticator]:
    made = Authenticator()
    yield made
    made.close()


@pytest.fixture
def config(configure: Callable[..., Config]) -> Config:
    return configure(
        credentials={
            "plain": {"password": "plain secret"},
            "hashed": {"password_hashes": [HASH]},
            "disabled": {"password": "x", "enabled": False},
            "inside": {"password": "x", "networks": ["10.0.0.0/8"]},
            "stored": {},
        }
    )


async def test_secrets_of_every_kind_are_checked(authenticator: Authenticator, config: Config):
    authenticator.load(config, [new_secret("stored", "stored secret", 0)])
    for name in ("plain", "hashed", "stored"):
        assert await authenticator.check(name, f"{name} secret", CLIENT) == name
        assert await authenticator.check(name, "wrong", CLIENT) is None
        assert await authenticator.check(name, "", CLIENT) is None


@pytest.mark.parametrize(("name", "password"), [("nobody", "x"), ("disabled", "x"), ("", "")])
async def test_who_may_not_log_in_may_not(
    authenticator: Authenticator, config: Config, name: str, password: str
):
    authenticator.load(config)
    assert await authenticator.check(name, password, CLIENT) is None


async def test_a_credential_holds_in_its_networks_only(
    authenticator: Authenticator, config: Config
):
    authenticator.load(config)
    assert await authenticator.check("inside", "x", CLIENT) is None
    assert await authenticator.check("inside", "x", "10.1.2.3") == "inside"
    assert await authenticator.check("inside", "x", CLIENT) is None


async def test_what_was_right_once_is_right_without_a_hash(
    authenticator: Authenticator, config: Config, monkeypatch: pytest.MonkeyPatch
):
    authenticator.load(config)
    assert await authenticator.check("hashed", "hashed secret", CLIENT) == "hashed"
    monkeypatch.setattr(passwords, "verify", lambda *_: pytest.fail("a hash was computed"))
    assert await authenticator.check("hashed", "hashed secret", CLIENT) == "hashed"


async def test_with_remembered_only_no_hash_is_computed(
    authenticator: Authenticator, config: Config, monkeypatch: pytest.MonkeyPatch
):
    authenticator.load(config)
    assert await authenticator.check("plain", "plain secret", CLIENT) == "plain"
    monkeypatch.setattr(passwords, "verify", lambda *_: pytest.fail("a hash was computed"))
    check = authenticator.check
    assert await check("plain", "plain secret", CLIENT, remembered_only=True) == "plain"
    assert await check("hashed", "hashed secret", CLIENT, remembered_only=True) is None


async def test_a_secret_that_is_revoked_stops_at_once(authenticator: Authenticator, config: Config):
    secret = new_secret("stored", "stored secret", 0)
    authenticator.load(config, [secret])
    assert await authenticator.check("stored", "stored secret", CLIENT) == "stored"
    authenticator.load(config, [])
    assert await authenticator.check("stored", "stored secret", CLIENT) is None


async def test_a_secret_revoked_while_its_hash_is_computed_is_not_right(
    authenticator: Authenticator, config: Config
):
    authenticator.load(config, [new_secret("stored", "stored secret", 0)])
    checking = asyncio.create_task(authenticator.check("stored", "stored secret", CLIENT))
    await asyncio.sleep(0)
    authenticator.load(config, [])
    assert await checking is None


async def test_every_login_that_fails_costs_as_many_hashes(
    authenticator: Authenticator, config: Config, monkeypatch: pytest.MonkeyPatch
):
    authenticator.load(config, [new_secret("hashed", "second", 0)])
    hashes = 0
    verify = passwords.verify

    def counting(password: str, encoded: str) -> bool:
        nonlocal hashes
        hashes += passwords.is_hash(encoded)
        return verify(password, encoded)

    monkeypatch.setattr(passwords, "verify", counting)
    refused = [
        *((name, "wrong") for name in ("hashed", "plain", "stored", "disabled", "nobody", "")),
        ("hashed", ""),
        ("nobody", ""),
        # Right, but from elsewhere or too late: the time must not tell that it is right.
        ("inside", "x"),
        ("disabled", "x"),
    ]
    assert await authenticator.check("inside", "x", "10.1.2.3") == "inside"
    costs = set()
    for name, password in refused:
        hashes = 0
        assert await authenticator.check(name, password, CLIENT) is None
        costs.add(hashes)
    assert costs == {2}


async def test_logins_that_wait_are_bounded_and_the_loop_stays_free(
    authenticator: Authenticator, config: Config, monkeypatch: pytest.MonkeyPatch
):
    authenticator.load(config)
    monkeypatch.setattr(passwords, "verify", lambda *_: time.sleep(0.002))
    logins: list[Any] = await asyncio.gather(
        *(authenticator.check("hashed", str(n), f"192.0.2.{n}") for n in range(100)),
        return_exceptions=True,
    )
    unavailable = [login for login in logins if isinstance(login, AuthenticationUnavailable)]
    assert len(unavailable) == 36
    assert logins.count(None) == 64


async def test_a_client_has_its_share_of_the_waiting_places_only(
    authenticator: Authenticator, config: Config, monkeypatch: pytest.MonkeyPatch
):
    authenticator.load(config)
    monkeypatch.setattr(passwords, "verify", lambda *_: time.sleep(0.002))
    one_client = [f"2001:db8::{n:x}" for n in range(100)]  # IPv6: a /64
    logins: list[Any] = await asyncio.gather(
        *(authenticator.check("hashed", client, client) for client in one_client),
        authenticator.check("hashed", "another", CLIENT),
        return_exceptions=True,
    )
    unavailable = [login for login in logins if isinstance(login, AuthenticationUnavailable)]
    assert len(unavailable) == 84
    assert logins[-1] is None
    # What is over is not counted for ever.
    assert await authenticator.check("hashed", "again", one_client[0]) is None


async def test_a_reload_forgets_only_those_whose_secrets_changed(
    authenticator: Authenticator, config: Config
):
    stored = new_secret("stored", "stored secret", 0)
    authenticator.load(config, [stored])
    for name in ("plain", "hashed", "stored"):
        assert await authenticator.check(name, f"{name} secret", CLIENT) == name
    authenticator.load(config, [stored, new_secret("plain", "second", 0)])
    check = authenticator.check
    assert await check("hashed", "hashed secret", CLIENT, remembered_only=True) == "hashed"
    assert await check("stored", "stored secret", CLIENT, remembered_only=True) == "stored"
    assert await check("plain", "plain secret", CLIENT, remembered_only=True) is None
    credentials = {name: one for name, one in config.credentials.items() if name != "hashed"}
    authenticator.load(config.model_copy(update={"credentials": credentials}), [stored])
    assert await check("hashed", "hashed secret", CLIENT) is None


async def test_clients_that_come_back_all_at_once_share_one_hash(
    authenticator: Authenticator, config: Config, monkeypatch: pytest.MonkeyPatch
):
    authenticator.load(config)
    verify, hashes = passwords.verify, []

    def counting(password: str, encoded: str) -> bool:
        hashes.append(encoded)
        return verify(password, encoded)

    monkeypatch.setattr(passwords, "verify", counting)
    logins = await asyncio.gather(
        *(authenticator.check("hashed", "hashed secret", CLIENT) for _ in range(500))
    )
    assert logins == ["hashed"] * 500
    assert hashes == [HASH]


async def test_no_secret_is_shown_by_a_repr(authenticator: Authenticator, config: Config):
    authenticator.load(config)
    assert "secret" not in repr(authenticator._accounts)


def test_networks_hold_for_mapped_addresses_too(configure: Callable[..., Config]):
    networks = (
        configure(
            listeners={"l": {"address": "127.0.0.1:0", "networks": ["10.0.0.0/8", "2001:db8::/32"]}}
        )
        .listeners["l"]
        .networks
    )
    assert is_within("10.1.2.3", networks)
    assert is_within("::ffff:10.1.2.3", networks)
    assert is_within("2001:db8::1", networks)
    assert not is_within("192.0.2.1", networks)
    assert is_within("192.0.2.1", ())


async def test_what_one_process_found_right_another_need_not_hash(
    config: Config, monkeypatch: pytest.MonkeyPatch
):
    told: list[Known] = []
    one = Authenticator(key=b"k" * 32, learned=told.append)
    other, stranger = Authenticator(key=b"k" * 32), Authenticator()
    for authenticator in (one, other, stranger):
        authenticator.load(config)
    assert await one.check("hashed", "hashed secret", CLIENT) == "hashed"
    (known,) = told
    monkeypatch.setattr(passwords, "verify", lambda *_: False)
    for authenticator, name in ((other, "hashed"), (stranger, None)):
        authenticator.learn(known)
        assert await authenticator.check("hashed", "hashed secret", CLIENT) == name
    assert await other.check("plain", "hashed secret", CLIENT) is None
    for authenticator in (one, other, stranger):
        authenticator.close()


async def test_what_was_right_by_secrets_that_are_gone_is_not_learned(config: Config):
    told: list[Known] = []
    secret = new_secret("stored", "stored secret", 0)
    one = Authenticator(key=b"k" * 32, learned=told.append)
    other = Authenticator(key=b"k" * 32)
    one.load(config, [secret])
    other.load(config, [])
    assert await one.check("stored", "stored secret", CLIENT) == "stored"
    other.learn(told[0])
    assert await other.check("stored", "stored secret", CLIENT) is None
    assert "secret" not in repr(told)
    for authenticator in (one, other):
        authenticator.close()


async def test_a_one_time_login_has_one_name_in_all_processes_and_is_gone_when_taken(
    config: Config,
):
    one, other = Authenticator(), Authenticator()
    for authenticator in (one, other):
        authenticator.load(config)
        authenticator.allow_once("plain", "token", 60)
        authenticator.allow_once("disabled", "token", 60)
    name = one.take_once("plain", "token")
    assert name
    assert "token" not in name
    assert one.take_once("plain", "token") == ""
    assert other.take_once("plain", "token") == name
    assert other.take_once("disabled", "token") == ""
    assert one.take_once("plain", "plain secret") == ""
    for authenticator in (one, other):
        authenticator.close()


async def test_a_one_time_login_ends_with_its_time(config: Config):
    authenticator = Authenticator()
    authenticator.load(config)
    authenticator.allow_once("plain", "token", 0)
    assert authenticator.take_once("plain", "token") == ""
    authenticator.close()

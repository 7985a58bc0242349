"""Where mail is kept: what the URL of a database says, and that its password is never shown."""

import pytest
from pydantic import ValidationError

from relay.config.store import StoreConfig


def store(url: str) -> StoreConfig:
    return StoreConfig.model_validate(url)


def test_a_url_alone_is_short_for_the_section() -> None:
    assert store("postgresql://relay@db/relay") == StoreConfig.model_validate(
        {"url": "postgresql://relay@db/relay"}
    )


def test_owners_of_a_shared_store_are_waited_for_less_long() -> None:
    assert store("postgresql://relay@db/relay").lease == 10
    assert StoreConfig().lease == 30


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("postgresql://relay@db.example.net/relay", False),
        ("postgresql://relay@localhost/relay", True),
        ("postgresql://relay@[::1]:5432/relay", True),
        ("postgresql://relay@[2001:db8::1]:5432/relay", False),
        ("postgresql:///relay?host=/run/postgresql", True),
        ("postgresql:///relay?host=db.example.net", False),
        ("postgresql://relay@127.0.0.1:1,db.example.net:2/relay", False),
    ],
)
def test_a_server_on_this_machine_is_known_as_such(url: str, is_local: bool) -> None:
    assert store(url).is_local is is_local


@pytest.mark.parametrize(
    ("mode", "demands"),
    [("", False), ("?sslmode=prefer", False), ("?sslmode=require", True),
     ("?sslmode=verify-full&sslrootcert=/ca.pem", True)],
)  # fmt: skip
def test_encryption_is_demanded_only_by_the_stricter_modes(mode: str, demands: bool) -> None:
    assert store(f"postgresql://relay@db.example.net/relay{mode}").demands_encryption is demands


def test_a_password_in_the_url_is_noticed_and_not_in_the_repr() -> None:
    config = store("postgresql://relay:hush@db/relay")
    assert config.holds_password
    assert "hush" not in repr(config)
    assert not store("postgresql://relay@db/relay").holds_password


@pytest.mark.parametrize(
    "url",
    [
        "mysql://relay:hush@db/relay",
        "postgresql://relay:hush@db",
        "postgresql://relay:hush@db:x/relay",
        "postgresql://relay:hush@db/relay?options=x",
        "postgresql://relay:hush@db/relay#x",
    ],
)
def test_what_is_said_of_a_wrong_url_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        store(url)
    assert all("hush" not in error["msg"] for error in caught.value.errors(include_input=False))


def test_a_password_file_without_a_url_is_refused() -> None:
    with pytest.raises(ValidationError, match="only with a url"):
        StoreConfig.model_validate({"password_file": "/secret"})

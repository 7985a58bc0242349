"""The most specific identity covers an address, and keys come from the nearest that has some."""

from pathlib import Path

import pytest

from relay.config.identities import dkim_keys_for, find_identity
from relay.config.model import DkimKey, Identity

KEY = DkimKey(selector="a", key=Path("a.pem"))
OTHER = DkimKey(selector="b", key=Path("b.pem"))
IDENTITIES = {
    "example.com": Identity(dkim=(KEY,)),
    "news.example.com": Identity(),
    "boss@example.com": Identity(),
    "signed@news.example.com": Identity(dkim=(OTHER,)),
    "alone@other.test": Identity(),
}


@pytest.mark.parametrize(
    ("address", "identity"),
    [
        ("anyone@example.com", "example.com"),
        ("boss@example.com", "boss@example.com"),
        ("Boss@Example.com", "boss@example.com"),
        ("boss+label@example.com", "boss@example.com"),
        ('"boss+label"@example.com', "example.com"),
        ("a@news.example.com", "news.example.com"),
        ("a@deep.news.example.com", "news.example.com"),
        ("a@mail.example.com", "example.com"),
        ("boss@mail.example.com", "example.com"),
        ("alone@other.test", "alone@other.test"),
        ("else@other.test", None),
        ("a@notexample.com", None),
        ("a@com", None),
        ("a@[192.0.2.1]", None),
        ("", None),
        ("+@example.com", "example.com"),
    ],
)
def test_the_most_specific_identity_wins(address: str, identity: str | None) -> None:
    assert find_identity(IDENTITIES, address) == identity


@pytest.mark.parametrize(
    ("identity", "address", "domain", "keys"),
    [
        ("example.com", "a@example.com", "example.com", (KEY,)),
        ("boss@example.com", "boss@example.com", "example.com", (KEY,)),
        ("news.example.com", "a@news.example.com", "example.com", (KEY,)),
        ("signed@news.example.com", "signed@news.example.com", "news.example.com", (OTHER,)),
        ("alone@other.test", "alone@other.test", "", ()),
        ("", "a@example.com", "example.com", (KEY,)),
        ("removed.test", "a@nowhere.test", "", ()),
    ],
)
def test_an_identity_without_keys_signs_with_those_above_it(
    identity: str, address: str, domain: str, keys: tuple[DkimKey, ...]
) -> None:
    assert dkim_keys_for(IDENTITIES, identity, address) == (domain, keys)

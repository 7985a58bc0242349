"""Passwords are kept as salted hashes and checked without telling how nearly right they are."""

import re

import pytest

from relay.config.passwords import check_hash, hash_password, is_hash, make_password, verify


def test_a_hash_verifies_its_password_and_no_other() -> None:
    encoded = hash_password("pässword")

    assert verify("pässword", encoded)
    assert not verify("passwörd", encoded)
    assert not verify("", encoded)


def test_a_hash_says_how_it_was_made_and_has_its_own_salt() -> None:
    one, two = hash_password("same"), hash_password("same")

    assert one.startswith("scrypt$16384$8$1$")
    assert one != two
    assert is_hash(one)
    assert check_hash(one) == one


def test_a_secret_in_clear_verifies_too() -> None:
    assert verify("secret", "secret")
    assert not verify("secret ", "secret")


@pytest.mark.parametrize(
    "encoded",
    [
        "scrypt$",
        "scrypt$16384$8$1$short$short",
        "scrypt$999999$8$1$4gB0dEJr2TemDlj06-Bn3g$4UklWPMPbnYohQhZz537FNn-aqbwUq4USImP-bJak58",
        "scrypt$524288$8$1$4gB0dEJr2TemDlj06-Bn3g$4UklWPMPbnYohQhZz537FNn-aqbwUq4USImP-bJak58",
        "scrypt$2$8$1$4gB0dEJr2TemDlj06-Bn3g$4UklWPMPbnYohQhZz537FNn-aqbwUq4USImP-bJak58",
        "scrypt$16384$0$1$4gB0dEJr2TemDlj06-Bn3g$4UklWPMPbnYohQhZz537FNn-aqbwUq4USImP-bJak58",
        "scrypt$16384$8$1$4gB0dEJr2TemDlj06-Bn3g$4UklWPMPbnYohQhZz537FNn-aqbwUq4USImP-bJak58$",
    ],
)
def test_a_hash_that_is_malformed_or_too_dear_matches_nothing(encoded: str) -> None:
    with pytest.raises(ValueError, match="allowed is a hash"):
        check_hash(encoded)
    assert not verify(encoded, encoded)


def test_a_made_password_is_long_plain_and_new() -> None:
    made = {make_password() for _ in range(50)}

    assert len(made) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9]{40}", password) for password in made)

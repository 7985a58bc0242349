"""Return-paths that say which message they belong to, and that nobody else can make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.address import parse_mailbox
from relay.mail.message_id import new_message_id
from relay.mail.verp import MOST_RECIPIENTS, NotOurs, ReturnPath, VerpKey, make, read

NOW = 1_800_000_000_000
DAY = 86_400_000
DOMAIN = "bounce.example.net"
KEY = VerpKey(3, bytes(range(32)))
OTHER = VerpKey(4, bytes(32))
TOKEN = st.sampled_from("abcdefghijklmnopqrstuvwxyz234567")


def reading(address: str, *keys: VerpKey, now: int = NOW) -> ReturnPath:
    return read(address, keys or (KEY,), now=now, lifetime=30 * DAY)


@given(st.none() | st.integers(0, MOST_RECIPIENTS - 1), st.integers(0, 20 * DAY))
def test_what_was_made_is_read(recipient: int | None, age: int) -> None:
    message_id = new_message_id(NOW - age)
    address = make(message_id, recipient, DOMAIN, KEY)
    assert reading(address) == ReturnPath(message_id, NOW - age, recipient)


@given(st.none() | st.integers(0, MOST_RECIPIENTS - 1))
def test_it_is_an_address_that_every_host_takes(recipient: int | None) -> None:
    address = make(new_message_id(NOW), recipient, DOMAIN, KEY)
    local, _, domain = address.partition("@")
    assert len(local) <= 64
    assert domain == DOMAIN
    assert address == address.lower()
    assert parse_mailbox(address) == address


def test_it_is_the_same_each_time() -> None:
    message_id = new_message_id(NOW)
    assert make(message_id, 1, DOMAIN, KEY) == make(message_id, 1, DOMAIN, KEY)
    assert make(message_id, 1, DOMAIN, KEY) != make(message_id, 2, DOMAIN, KEY)
    assert make(message_id, None, DOMAIN, KEY) != make(message_id, 0, DOMAIN, KEY)


def test_the_case_of_letters_does_not_matter() -> None:
    address = make(new_message_id(NOW), 7, DOMAIN, KEY)
    assert reading(address.upper()) == reading(address)


ADDRESS = make(new_message_id(NOW), 7, DOMAIN, KEY)


@given(st.data())
def test_a_token_with_another_letter_in_it_is_not_ours(data: st.DataObject) -> None:
    at = data.draw(st.integers(2, ADDRESS.index("@") - 1))
    letter = data.draw(TOKEN.filter(lambda letter: letter != ADDRESS[at]))
    with pytest.raises(NotOurs):
        reading(ADDRESS[:at] + letter + ADDRESS[at + 1 :])


def test_a_token_is_of_one_domain() -> None:
    address = make(new_message_id(NOW), 7, DOMAIN, KEY)
    with pytest.raises(NotOurs):
        reading(address.replace(DOMAIN, "bounce.example.org"))


def test_a_token_is_of_one_key_and_a_key_that_is_gone_reads_nothing() -> None:
    address = make(new_message_id(NOW), 7, DOMAIN, KEY)
    assert reading(address, OTHER, KEY).recipient == 7
    with pytest.raises(NotOurs, match="number 3"):
        reading(address, OTHER)
    with pytest.raises(NotOurs, match="not made here"):
        reading(address, VerpKey(KEY.number, OTHER.secret))


@pytest.mark.parametrize("age", [31 * DAY, -2 * DAY])
def test_a_token_has_its_time(age: int) -> None:
    address = make(new_message_id(NOW - age), 7, DOMAIN, KEY)
    with pytest.raises(NotOurs, match="too old"):
        reading(address)


@given(st.text(max_size=120) | st.text("b+@a2", max_size=80))
def test_whatever_comes_in_is_refused_with_a_reason(address: str) -> None:
    with pytest.raises(NotOurs):
        reading(address)


@pytest.mark.parametrize(
    "message_id", ["", "x", "010101a3185c5000-cec5df28-5179-46aa-b80a-b076da6ff861-000000"]
)
def test_only_an_id_of_our_own_can_be_written(message_id: str) -> None:
    with pytest.raises(ValueError, match="id of this relay"):
        make(message_id, None, DOMAIN, KEY)


@pytest.mark.parametrize("recipient", [-1, MOST_RECIPIENTS])
def test_a_recipient_beyond_the_numbers_is_an_error(recipient: int) -> None:
    with pytest.raises(ValueError, match="recipient"):
        make(new_message_id(NOW), recipient, DOMAIN, KEY)


def test_a_key_does_not_show_its_secret() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert "secret" not in repr(KEY)
    with pytest.raises(ValueError, match="0 to 15"):
        VerpKey(16, bytes(32))

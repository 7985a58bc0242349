"""Under which reverse-path a message goes out, and the keys that authenticate it."""

import stat
from pathlib import Path
from typing import Any

import pytest

from relay.config.model import Identity
from relay.mail.envelope import Envelope, Recipient
from relay.mail.message_id import new_message_id
from relay.mail.verp import VerpKey, read
from relay.signing.keys import KeyFileError
from relay.signing.return_path_keys import FILE_NAME, KEPT_AT_MOST, load_or_make, read_keys, rotate
from relay.signing.return_paths import NO_RETURN_PATHS, NUMBERED_AT_MOST, ReturnPaths
from relay.store.values import Body, Message

NOW = 1_800_000_000_000
KEY = VerpKey(0, bytes(32))
BOB, EVE = Recipient("bob@example.org"), Recipient("eve@example.com")
IDENTITIES = {
    "example.net": Identity(mail_from="bounce.example.net"),
    "news.example.net": Identity(),
    "shop@example.net": Identity(mail_from="bounce.shop.example.net"),
    "example.com": Identity(),
}
PATHS = ReturnPaths(IDENTITIES, [KEY])


def message(*recipients: Recipient, identity: str = "example.net", **envelope: Any) -> Message:
    sender = envelope.pop("reverse_path", "app@example.net")
    return Message(
        id=new_message_id(NOW),
        accepted_at=NOW,
        expires_at=NOW + 1,
        envelope=Envelope(sender, recipients or (BOB,), **envelope),
        credential="app",
        configuration_set="main",
        identity=identity,
        header=b"",
        body=Body(0, b""),
    )


def said(address: str) -> Any:
    return read(address, [KEY], now=NOW, lifetime=1)


def test_it_names_the_message_and_the_recipient_where_there_is_one() -> None:
    mail = message(EVE, BOB)
    found = said(PATHS.of(mail, (BOB,)))
    assert (found.message_id, found.recipient) == (mail.id, 1)


def test_it_names_the_message_alone_where_the_transaction_has_several() -> None:
    mail = message(EVE, BOB)
    found = said(PATHS.of(mail, (EVE, BOB)))
    assert (found.message_id, found.recipient) == (mail.id, None)


def test_a_recipient_of_a_crowd_is_not_looked_for() -> None:
    crowd = tuple(Recipient(f"{n}@example.org") for n in range(NUMBERED_AT_MOST + 1))
    assert said(PATHS.of(message(*crowd), crowd[:1])).recipient is None


@pytest.mark.parametrize(
    ("identity", "domain"),
    [
        ("example.net", "bounce.example.net"),
        ("news.example.net", "bounce.example.net"),
        ("shop@example.net", "bounce.shop.example.net"),
        ("other@example.net", "bounce.example.net"),
    ],
)
def test_the_domain_is_that_of_the_nearest_identity(identity: str, domain: str) -> None:
    for _ in range(2):
        assert PATHS.of(message(identity=identity), (BOB,)).endswith(f"@{domain}")


def test_without_a_mail_from_domain_the_clients_own_stays() -> None:
    assert PATHS.of(message(identity="example.com"), (BOB,)) == "app@example.net"
    assert NO_RETURN_PATHS.of(message(), (BOB,)) == "app@example.net"


def test_the_null_reverse_path_stays_null() -> None:
    assert PATHS.of(message(reverse_path=""), (BOB,)) == ""


def test_keys_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    (key,) = load_or_make(tmp_path)
    assert load_or_make(tmp_path) == (key,)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


def test_a_new_key_makes_and_older_ones_still_read(tmp_path: Path) -> None:
    (old,) = load_or_make(tmp_path)
    new, kept = rotate(tmp_path)
    assert kept == old
    assert new.number != old.number
    assert read_keys(tmp_path) == (new, old)
    for _ in range(20):
        keys = rotate(tmp_path)
    assert len(keys) == len({key.number for key in keys}) == KEPT_AT_MOST


@pytest.mark.parametrize("text", ["", "0", "0 ff", "16 " + "00" * 32, "é", f"1 {'00' * 32}\n" * 2])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(KeyFileError, match=FILE_NAME):
        load_or_make(tmp_path)


def test_a_directory_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="gone"):
        load_or_make(tmp_path / "gone")


def test_mail_to_the_simulator_says_which_message_it_is_whatever_its_identity() -> None:
    paths = ReturnPaths(IDENTITIES, [KEY], "simulator.relay.test")
    box = Recipient("complaint@simulator.relay.test")
    mail = message(BOB, box, identity="example.com")
    path = paths.of(mail, (box,))
    assert path.endswith("@simulator.relay.test")
    assert (said(path).message_id, said(path).recipient) == (mail.id, 1)
    assert paths.of(mail, (BOB,)) == "app@example.net"
    assert paths.of(message(box), (box,)).endswith("@bounce.example.net")
    assert paths.of(message(box, identity="example.com", reverse_path=""), (box,)) == ""

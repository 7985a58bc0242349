"""What may be asked for of header fields, and what is said of the rest."""

import pytest
from pydantic import ValidationError

from relay.config.headers import Unsubscribe
from relay.config.model import ConfigurationSet

SECRET = "a secret of the application"


@pytest.mark.parametrize(
    "url", ["https://x.test/{token}", "https://x.test/u?t={token}&a=b", "https://x.test?{token}"]
)
def test_a_url_has_a_place_for_the_token(url: str) -> None:
    assert Unsubscribe(url=url, secret=SECRET).url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://x.test/{token}",
        "https://x.test/",
        "https://x.test/{token}{token}",
        "https://x.test/<{token}",
        "https://x.test/ {token}",
        "https://x.test/{token}\r\nX: y",
        "https://x.test/ü{token}",
        "https://x.test/{token}" + "x" * 300,
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Unsubscribe(url=url, secret=SECRET)


@pytest.mark.parametrize("mailto", ["u@x.test", "u@x.test?subject={token}", "u@x.test?{token}"])
def test_an_address_may_say_what_the_mail_is_to_hold(mailto: str) -> None:
    assert Unsubscribe(mailto=mailto, secret=SECRET).mailto == mailto


@pytest.mark.parametrize(
    "mailto", ["", "x.test", "mailto:u@", '"a b"@x.test', "u@x.test?", "u@x.test?a=>", "u@x.test?ü"]
)
def test_other_addresses_are_refused(mailto: str) -> None:
    with pytest.raises(ValidationError):
        Unsubscribe(mailto=mailto, secret=SECRET)


def test_one_of_both_is_needed_and_a_secret_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="a url, a mailto or both"):
        Unsubscribe(secret=SECRET)
    with pytest.raises(ValidationError):
        Unsubscribe(mailto="u@x.test", secret="short")
    assert SECRET not in repr(Unsubscribe(mailto="u@x.test", secret=SECRET))


@pytest.mark.parametrize("sender", ["four", "sixteen-letters-", "with:colon", "with space"])
def test_gmail_takes_senders_of_five_to_fifteen_characters(sender: str) -> None:
    with pytest.raises(ValidationError):
        ConfigurationSet(pool="main", feedback_id=sender)
    assert ConfigurationSet(pool="main", feedback_id="acme-mail").feedback_id == "acme-mail"

"""Tokens say who leaves what, to those who have the secret and to nobody else."""

import base64
import hashlib
import hmac
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.unsubscribe import (
    NoToken,
    Subscription,
    make_token,
    read_token,
    unsubscribe_fields,
)

SECRET = "a secret of the application"
ANN = Subscription("0100018f-id", "news", "ann@x.test")
PAGE = Path(__file__).parents[2] / "docs/headers.md"


@given(st.text(min_size=1, max_size=100, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_token_is_read_as_it_was_made_and_suits_any_url(address: str) -> None:
    subscription = Subscription("0100018f-id", "news", address)
    token = make_token(subscription, SECRET)
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{22}", token)
    assert read_token(token, SECRET) == subscription


@given(st.data())
def test_a_token_that_was_altered_anywhere_is_none(data: st.DataObject) -> None:
    token = make_token(ANN, SECRET)
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABab01_-.é").filter(lambda one: one != token[at]))
    with pytest.raises(NoToken):
        read_token(token[:at] + letter + token[at + 1 :], SECRET)


@pytest.mark.parametrize("token", ["", ".", "x", "x.y", make_token(ANN, "another secret, too")])
def test_what_the_secret_has_not_made_is_no_token(token: str) -> None:
    with pytest.raises(NoToken):
        read_token(token, SECRET)


def test_the_verifier_of_the_manual_reads_what_is_made_and_nothing_else() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    space: dict[str, object] = {"base64": base64, "hashlib": hashlib, "hmac": hmac}
    exec(code, space)  # our own manual
    verify = space["verify"]
    assert callable(verify)
    token = make_token(ANN, SECRET)
    assert verify(token, SECRET) == ["0100018f-id", "news", "ann@x.test"]
    assert verify(token, "another secret, too") is None
    assert verify("x" + token, SECRET) is None
    assert verify("", SECRET) is None
    assert verify(token[:-1] + "é", SECRET) is None


def test_one_click_is_promised_for_a_url_alone() -> None:
    assert unsubscribe_fields("https://x.test/u", "u@x.test") == (
        b"List-Unsubscribe: <https://x.test/u>, <mailto:u@x.test>\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )
    assert unsubscribe_fields(None, "u@x.test") == b"List-Unsubscribe: <mailto:u@x.test>\r\n"

"""Encoded words are decoded for people, and whatever they hold can be written down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.encoded_words import decode_words, encode_words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?= from us", "Grüße from us"),
        ("=?iso-8859-1?b?/A==?=", "ü"),
        ("=?utf-8?q?one?= =?utf-8?q?_two?=", "one two"),
        ("=?utf-8?b?////?=", "=?utf-8?b?////?="),
        ("=?no-such-charset?q?x?=", "=?no-such-charset?q?x?="),
        ("=?bz2?b?aaaa?=", "=?bz2?b?aaaa?="),
        ("=?unknown-8bit?q?=FF?=", "\N{REPLACEMENT CHARACTER}"),
        ("=?utf-7?q?+2AA-?=", "\N{REPLACEMENT CHARACTER}"),
        ("=?unicode_escape?q?=5Cud800?=", "=?unicode_escape?q?=5Cud800?="),  # no charset
        ("=?Unicode-Escape?q?=5C8?=", "=?Unicode-Escape?q?=5C8?="),
    ],
)
def test_words_are_decoded_as_far_as_they_can_be(value: str, text: str) -> None:
    assert decode_words(value) == text


@given(st.text())
def test_what_was_encoded_is_decoded_again(text: str) -> None:
    assert decode_words(encode_words(text)) == text


@given(
    st.sampled_from(["utf-7", "utf-16", "unicode_escape", "Raw_Unicode_Escape", "idna", "x"]),
    st.sampled_from("qb"),
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?")),
)
def test_whatever_is_decoded_can_be_written(charset: str, encoding: str, word: str) -> None:
    decode_words(f"=?{charset}?{encoding}?{word}?=").encode()

"""The EICAR test file is found in a body, however it is cut and encoded, and nowhere else."""

from base64 import b64encode, encodebytes
from email.message import EmailMessage
from email.policy import SMTP
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.eicar import EicarFinder

TEST_FILE = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-" + b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def is_found(*blocks: bytes) -> bool:
    finder = EicarFinder()
    for block in blocks:
        finder.update(block)
    return finder.found


@pytest.mark.parametrize(
    "body",
    [
        TEST_FILE,
        TEST_FILE + b"\r\n",
        b"Hello.\r\n" + TEST_FILE + b"\r\nBye.\r\n",
        b"Hello.\r\n" + encodebytes(TEST_FILE).replace(b"\n", b"\r\n"),
        b64encode(TEST_FILE) + b"\r\n",
        b64encode(TEST_FILE)[:56] + b"\r\n" + b64encode(TEST_FILE)[56:],
    ],
)
def test_the_test_file_is_found_as_text_and_in_base64(body: bytes) -> None:
    assert is_found(body)


def test_the_test_file_is_found_as_an_attachment_of_a_real_message() -> None:
    message = EmailMessage(policy=SMTP)
    message.set_content("See the attachment.")
    message.add_attachment(TEST_FILE, maintype="application", subtype="octet-stream", filename="a")
    assert is_found(message.as_bytes().partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Hello.\r\n",
        b"The test file is " + TEST_FILE + b"\r\n",
        TEST_FILE[:-1] + b"\r\n",
        b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE",
        b"\n" + TEST_FILE,
    ],
)
def test_what_only_speaks_of_it_is_let_through(body: bytes) -> None:
    assert not is_found(body)


@given(
    st.binary(max_size=300),
    st.booleans(),
    st.lists(st.integers(0, 700), max_size=12),
)
def test_it_is_found_however_the_body_is_cut(before: bytes, encoded: bool, cuts: list[int]) -> None:
    body = before + b"\r\n" + (b64encode(TEST_FILE) if encoded else TEST_FILE) + b"\r\nEnd.\r\n"
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    blocks = [body[start:end] for start, end in pairwise(edges)]
    assert is_found(*blocks)
    assert b"".join(blocks) == body

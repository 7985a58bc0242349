"""Fields that a configuration set asks for are added to mail that has none of its own."""

import re

import dkim
import pytest

from relay.admission.admission import Admission
from relay.limits.limits import Limits, config_limits
from relay.mail.unsubscribe import Subscription, read_token
from relay.observe.metrics import Metrics
from relay.signing.body_hash import BodyHash
from relay.signing.keys import SigningKey
from relay.signing.make import make_private_key, record_text
from relay.signing.sign import dkim_fields
from relay.store.values import Body, NewMessage
from tests.admission.test_admission import NOW, OnePermitStore

SECRET = "a secret of the application"
URL = "https://news.test/u?t={token}"


@pytest.fixture
def header_of(configured):
    """The header block of a submission that was accepted in the set `news` with these keys."""

    async def make(submission, **keys) -> bytes:
        sets = {"news": {"pool": "main", **keys}}
        config = configured(
            credentials={"app": {"configuration_set": "news"}},
            configuration_sets=sets,
            identities={"sender.test": {}, "jane@single.test": {}},
        )
        limits = Limits(OnePermitStore(), lambda: 0.0, lambda: NOW)
        limits.configure(config_limits(config))
        admission = Admission(config, limits, config.hostname, Metrics())
        new = await admission.admit(submission)
        assert isinstance(new, NewMessage), new
        return new.message.header

    return make


def field(header: bytes, name: str) -> list[str]:
    unfolded = header.decode().replace("\r\n ", " ")
    return re.findall(rf"(?im)^{name}: (.*?)\r?$", unfolded)


async def test_nothing_is_added_where_nothing_was_asked_for(header_of, submission):
    header = await header_of(submission())
    assert b"Feedback-ID" not in header
    assert b"List-" not in header


async def test_feedback_id_names_campaign_set_identity_and_sender(header_of, submission):
    tagged = submission("From: ann@sender.test\r\nX-SES-MESSAGE-TAGS: campaign=spring, a=b\r\n")
    header = await header_of(tagged, feedback_id="acme-mail")
    assert field(header, "Feedback-ID") == ["spring:news:sender.test:acme-mail"]
    header = await header_of(submission(), feedback_id="acme-mail")
    assert field(header, "Feedback-ID") == [":news:sender.test:acme-mail"]


async def test_the_parts_of_feedback_id_are_of_safe_characters_and_bounded(header_of, submission):
    tagged = submission(
        f"From: jane@single.test\r\nX-SES-MESSAGE-TAGS: campaign={'c' * 200}\r\n",
        reverse_path="jane@single.test",
    )
    header = await header_of(tagged, feedback_id="acme-mail")
    assert field(header, "Feedback-ID") == [f"{'c' * 64}:news:jane-single.test:acme-mail"]


async def test_the_way_out_is_for_the_one_recipient_and_can_be_trusted(header_of, submission):
    one = submission()
    header = await header_of(
        one,
        unsubscribe={"url": URL, "mailto": "u@news.test?subject={token}", "secret": SECRET},
    )
    (ways,) = field(header, "List-Unsubscribe")
    url, mailto = re.fullmatch(
        r"<https://news.test/u\?t=(.*)>, <mailto:u@news.test\?subject=(.*)>", ways
    ).groups()
    recipient = one.envelope.recipients[0].address
    assert read_token(url, SECRET) == Subscription(one.id, "news", recipient)
    assert mailto == url
    assert field(header, "List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"]


async def test_a_message_to_several_has_no_token_that_one_could_use_for_another(
    header_of, submission
):
    both = {"url": URL, "mailto": "u@news.test", "secret": SECRET}
    header = await header_of(submission(recipients=2), unsubscribe=both)
    assert field(header, "List-Unsubscribe") == ["<mailto:u@news.test>"]
    assert field(header, "List-Unsubscribe-Post") == []
    header = await header_of(submission(recipients=2), unsubscribe={"url": URL, "secret": SECRET})
    assert b"List-" not in header


@pytest.mark.parametrize(
    "own", ["List-Unsubscribe: <https://own.test>\r\n", "List-Unsubscribe-Post: x=y\r\n"]
)
async def test_what_the_sender_has_written_stays_alone(header_of, submission, own):
    one = submission(f"From: ann@sender.test\r\n{own}Feedback-ID: a:b:c:own-id\r\n")
    header = await header_of(
        one, feedback_id="acme-mail", unsubscribe={"url": URL, "secret": SECRET}
    )
    assert header.count(b"List-Unsubscribe") == 1
    assert field(header, "Feedback-ID") == ["a:b:c:own-id"]


async def test_what_is_added_is_signed(header_of, submission):
    one = submission()
    header = await header_of(
        one, feedback_id="acme-mail", unsubscribe={"url": URL, "secret": SECRET}
    )
    digests = BodyHash(relaxed=False)
    digests.update(b"Hello.\r\n")
    body = Body(8, *digests.digests())
    key = SigningKey("sender.test", "s1", make_private_key("rsa"))
    signature = dkim_fields(header, body, [key], 1_700_000_000)
    names = re.search(rb"\th=(.*?);", signature, re.DOTALL)
    assert names is not None
    for name in (b"List-Unsubscribe", b"List-Unsubscribe-Post", b"Feedback-ID"):
        assert name in re.split(rb"[:\s]+", names[1])
    altered = header.replace(b"news.test", b"evil.test")
    content = b"\r\nHello.\r\n"
    record = record_text(key.private).encode()
    assert _verifies(signature + header + content, record)
    assert not _verifies(signature + altered + content, record)


def _verifies(message: bytes, record: bytes) -> bool:
    return bool(dkim.DKIM(message).verify(dnsfunc=lambda name, timeout=5: record))

"""The checks, as tables: what comes in, what the client hears, under which word it is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.admission.checks import Approved, examine
from relay.admission.submission import Refusal

FROM = "From: ann@sender.test\r\n"
NOT_VERIFIED = (
    "554 5.7.1 Message rejected: Email address is not verified."
    " The following identities failed the check: "
)
SET = "X-SES-CONFIGURATION-SET: "

REFUSED = {
    "a content larger than the bound": (
        {"body_size": 100_000},
        "552 5.3.4 Message is too long. The limit is 100000 octets.",
        "message size",
    ),
    "a header larger than its bound": (
        {"header": FROM + "X-Filler: y\r\n" * 5_000},
        "552 5.3.4 Message header is too long. The limit is 50000 octets.",
        "header size",
    ),
    "two different From fields": (
        {"header": FROM + "from: eve@evil.test\r\n"},
        "554 5.6.0 Transaction failed: Duplicate header 'from'.",
        "duplicate header",
    ),
    "two different subjects": (
        {"header": FROM + "Subject: a\r\nSubject: b\r\n"},
        "554 5.6.0 Transaction failed: Duplicate header 'Subject'.",
        "duplicate header",
    ),
    "two different content types": (
        {"header": FROM + "Content-Type: text/plain\r\nContent-Type: text/html\r\n"},
        "554 5.6.0 Transaction failed: Duplicate header 'Content-Type'.",
        "duplicate header",
    ),
    "two configuration set headers, even alike": (
        {"header": FROM + f"{SET}marketing\r\n{SET}marketing\r\n"},
        "554 5.6.0 Transaction failed: Duplicate header 'X-SES-CONFIGURATION-SET'.",
        "duplicate header",
    ),
    "two message tag headers": (
        {"header": FROM + "X-SES-MESSAGE-TAGS: a=b\r\nX-SES-MESSAGE-TAGS: c=d\r\n"},
        "554 5.6.0 Transaction failed: Duplicate header 'X-SES-MESSAGE-TAGS'.",
        "duplicate header",
    ),
    "no From at all": (
        {"header": "Subject: hello\r\n"},
        "554 5.6.0 Transaction failed: Missing header 'From'.",
        "bad header",
    ),
    "a From that is no address": (
        {"header": "From: Ann at home\r\n"},
        "554 5.6.0 Transaction failed: Header 'From' has no valid address.",
        "bad header",
    ),
    "a From with half an address": (
        {"header": "From: ann@sender.test, <eve@\r\n"},
        "554 5.6.0 Transaction failed: Header 'From' has no valid address.",
        "bad header",
    ),
    "a From with another address in place of the name": (
        {"header": "From: eve@evil.test <ann@sender.test>\r\n"},
        "554 5.6.0 Transaction failed: Header 'From' has no valid address.",
        "bad header",
    ),
    "a From with octets that are not UTF-8": (
        {"header": b"From: j\xfcrgen@sender.test\r\n", "smtputf8": True},
        "554 5.6.0 Transaction failed: Header 'From' has no valid address.",
        "bad header",
    ),
    "an empty Sender": (
        {"header": FROM + "Sender:\r\n"},
        "554 5.6.0 Transaction failed: Header 'Sender' has no valid address.",
        "bad header",
    ),
    "an address beyond ASCII without SMTPUTF8": (
        {"header": "From: jürgen@sender.test\r\n"},
        "554 5.6.7 Transaction failed: The address in 'From' is not ASCII. Send it with SMTPUTF8,"
        " or write the domain in Punycode.",
        "bad header",
    ),
    "a message that goes round in circles": (
        {"header": "Received: from a by b; c\r\n" * 101 + FROM},
        "554 5.4.6 Transaction failed: Mail loop: the message has 101 'Received' headers.",
        "mail loop",
    ),
    "more recipients than the bound": (
        {"recipients": 11},
        "554 5.5.3 Transaction failed: Recipient count exceeds 10.",
        "recipients",
    ),
    "a credential that is disabled": (
        {"credential": "off"},
        "554 5.7.1 Access denied: Credential off is disabled.",
        "credential disabled",
    ),
    "a credential that a reload has removed": (
        {"credential": "gone"},
        "554 5.7.1 Access denied: Credential gone is disabled.",
        "credential disabled",
    ),
    "a From of no identity": (
        {"header": "From: Eve <eve@evil.test>\r\n"},
        NOT_VERIFIED + "eve@evil.test",
        "identity unknown",
    ),
    "one From address of several": (
        {"header": "From: ann@sender.test, eve@evil.test\r\nSender: ann@sender.test\r\n"},
        NOT_VERIFIED + "eve@evil.test",
        "identity unknown",
    ),
    "a Sender of no identity": (
        {"header": FROM + "Sender: eve@evil.test\r\n"},
        NOT_VERIFIED + "eve@evil.test",
        "identity unknown",
    ),
    "a reverse-path of no identity": (
        {"reverse_path": "eve@evil.test"},
        NOT_VERIFIED + "eve@evil.test",
        "identity unknown",
    ),
    "the null reverse-path with a foreign From": (
        {"header": "From: eve@evil.test\r\n", "reverse_path": ""},
        NOT_VERIFIED + "eve@evil.test",
        "identity unknown",
    ),
    "another address of the domain where only one address is an identity": (
        {"header": "From: john@single.test\r\n"},
        NOT_VERIFIED + "john@single.test",
        "identity unknown",
    ),
    "many foreign addresses, cut short": (
        {"header": "From: " + ", ".join(f"e{i}@evil.test" for i in range(9)) + "\r\n"},
        NOT_VERIFIED + ", ".join(f"e{i}@evil.test" for i in range(5)) + ", ...",
        "identity unknown",
    ),
    "an identity that is not the credential's": (
        {"credential": "shop"},
        NOT_VERIFIED + "ann@sender.test (credential shop may not send as them)",
        "identity not allowed",
    ),
    "a reverse-path that is not the credential's": (
        {"header": "From: orders@shop.test\r\n", "credential": "shop"},
        NOT_VERIFIED + "ann@sender.test (credential shop may not send as them)",
        "identity not allowed",
    ),
    "a set that does not exist": (
        {"header": FROM + SET + "nowhere\r\n"},
        "554 5.7.1 Configuration set does not exist: nowhere",
        "configuration set unknown",
    ),
    "a set whose name is not one": (
        {"header": FROM + SET + "a, b\x1b[31m" + "c" * 200 + "\r\n"},
        "554 5.7.1 Configuration set does not exist: a, b?[31m" + "c" * 68 + "...",
        "configuration set unknown",
    ),
    "a set with an empty name": (
        {"header": FROM + SET + "\r\n"},
        "554 5.7.1 Configuration set does not exist: (empty)",
        "configuration set unknown",
    ),
    "a set in other letters": (
        {"header": FROM + SET + "Marketing\r\n"},
        "554 5.7.1 Configuration set does not exist: Marketing",
        "configuration set unknown",
    ),
    "a set that the credential may not use": (
        {
            "header": f"From: orders@shop.test\r\n{SET}marketing\r\n",
            "credential": "shop",
            "reverse_path": "",
        },
        "554 5.7.1 Access denied: Credential shop may not use configuration set marketing",
        "configuration set not allowed",
    ),
    "a set that is paused": (
        {"header": FROM + SET + "paused\r\n"},
        "554 5.7.1 Sending is paused for configuration set paused",
        "configuration set paused",
    ),
    "no set named and no default": (
        {"credential": "bare"},
        "554 5.7.1 Configuration set missing: name one in the header X-SES-CONFIGURATION-SET."
        " Neither identity sender.test nor credential bare has a default.",
        "configuration set missing",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_refused_is(case, submission, policy):
    given_, reply, reason = case
    result = examine(submission(**given_), policy)
    assert isinstance(result, Refusal)
    assert (str(result.reply), result.reason) == (reply, reason)


ACCEPTED = {
    "an ordinary message": {},
    "the null reverse-path": {"reverse_path": ""},
    "a subdomain of an identity": {"header": "From: x@news.eu.sender.test\r\n"},
    "a labelled address of an address identity": {"header": "From: jane+news@single.test\r\n"},
    "a From in capitals": {"header": "FROM: <ANN@SENDER.TEST>\r\n"},
    "a display name that looks like another address": {
        "header": 'From: "eve@evil.test" <ann@sender.test>\r\n'
    },
    "raw UTF-8 in a display name and a subject": {
        "header": "From: Jürgen <ann@sender.test>\r\nSubject: Grüße\r\n"
    },
    "Latin-1 in a subject": {"header": b"From: ann@sender.test\r\nSubject: Gr\xfc\xdfe\r\n"},
    "an address beyond ASCII with SMTPUTF8": {
        "header": "From: jürgen@sender.test\r\n",
        "smtputf8": True,
    },
    "many signatures of others": {"header": FROM + "DKIM-Signature: a\r\nDKIM-Signature: b\r\n"},
    "two To fields": {"header": FROM + "To: a@b.test\r\nTo: c@d.test\r\n"},
    "identical copies of From": {"header": FROM + "FROM:  ann@sender.test\r\n"},
    "a hundred hops": {"header": "Received: from a by b; c\r\n" * 100 + FROM},
    "as many recipients as the bound": {"recipients": 10},
    "a content as large as the bound": {"body_size": 100_000 - 2 - len(FROM), "header": FROM},
    "a credential's own identity": {
        "header": "From: orders@shop.test\r\n",
        "reverse_path": "bounce@shop.test",
        "credential": "shop",
    },
}


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted_is(case, submission, policy):
    assert isinstance(examine(submission(**case), policy), Approved)


CHOSEN = {
    "the header's": ("app", "ann@sender.test", f"{SET}marketing\r\n", "marketing"),
    "the header's, folded": ("app", "ann@sender.test", f"{SET}\r\n marketing \r\n", "marketing"),
    "the header's before the identity's": (
        "app", "x@shop.test", f"{SET}transactional\r\n", "transactional",
    ),
    "the domain identity's before the credential's": ("app", "x@shop.test", "", "marketing"),
    "the address identity's before the domain's": (
        "bare", "orders@shop.test", "", "transactional",
    ),
    "the domain's where the address identity has none": (
        "bare", "plain@shop.test", "", "marketing",
    ),
    "the credential's where the identity has none": ("app", "a@sender.test", "", "transactional"),
    "the only one that the credential may use": ("one-set", "a@sender.test", "", "marketing"),
    "the credential's only set although the identity has another": (
        "one-set", "orders@shop.test", "", "marketing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHOSEN.values(), ids=CHOSEN.keys())
def test_the_configuration_set_is(case, submission, policy):
    credential, address, header, expected = case
    result = examine(
        submission(f"From: {address}\r\n{header}", credential=credential, reverse_path=""), policy
    )
    assert isinstance(result, Approved)
    assert result.set_name == expected


def test_the_global_default_set_comes_after_the_credentials(configured, submission):
    from relay.admission.policy import Policy

    policy = Policy.of(configured(default_configuration_set="marketing"), "relay.test")
    assert examine(submission(credential="bare"), policy).set_name == "marketing"
    assert examine(submission(credential="app"), policy).set_name == "transactional"


def test_where_there_is_one_set_it_is_the_default(configured, submission):
    from relay.admission.policy import Policy

    config = configured(
        configuration_sets={"only": {"pool": "main"}},
        identities={"sender.test": {}},
        credentials={"app": {}},
    )
    assert examine(submission(), Policy.of(config, "relay.test")).set_name == "only"


@pytest.mark.parametrize(
    ("address", "identity"),
    [
        ("a@sender.test", "sender.test"),
        ("orders@shop.test", "orders@shop.test"),
        ("orders+1@shop.test", "orders@shop.test"),
        ("x@eu.shop.test", "shop.test"),
    ],
)
def test_a_message_belongs_to_the_most_specific_identity_of_its_from(
    address, identity, submission, policy
):
    result = examine(submission(f"From: {address}\r\n"), policy)
    assert isinstance(result, Approved)
    assert result.identity == identity


NAMES = ["From", "Sender", "X-SES-CONFIGURATION-SET", "X-SES-MESSAGE-TAGS", "Date"]
VALUES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=60)


@given(block=st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6))
def test_whatever_a_header_holds_the_answer_is_one_line_of_printable_ascii(
    block, submission, configured
):
    from relay.admission.policy import Policy

    header = "".join(f"{name}: {value}\r\n" for name, value in block)
    result = examine(submission(header), Policy.of(configured(), "relay.test"))
    if isinstance(result, Refusal):
        assert result.reply.text.isascii()
        assert result.reply.text.isprintable()
        assert len(result.reply.text) < 600

from hypothesis import given
from hypothesis import strategies as st

from relay.frontend.commands import Mail, is_xtext, parse_mail, parse_rcpt
from relay.frontend.replies import Answer
from relay.mail.envelope import Recipient

LIMIT = 1_000


def refusal(result: Mail | Recipient | Answer) -> str:
    assert isinstance(result, Answer)
    return str(result.reply)


def test_everything_that_mail_can_say_is_understood():
    mail = parse_mail(
        "FROM:<A.b@Sender.TEST> size=999 Body=8bitmime SMTPUTF8 RET=hdrs ENVID=QqAb+2B AUTH=<>",
        size_limit=LIMIT,
    )
    assert mail == Mail("A.b@sender.test", 999, "8BITMIME", True, "HDRS", "QqAb+2B")


def test_everything_that_rcpt_can_say_is_understood():
    recipient = parse_rcpt(
        "TO:<b@example.test> notify=success,Delay ORCPT=rfc822;B+2Bc@Example.test"
    )
    assert recipient == Recipient(
        "b@example.test", ("SUCCESS", "DELAY"), "rfc822;B+2Bc@Example.test"
    )


def test_the_null_reverse_path_is_the_empty_string():
    assert parse_mail("FROM:<>", size_limit=LIMIT) == Mail("")


def test_a_bracket_inside_a_quoted_local_part_does_not_end_the_path():
    assert parse_rcpt('TO:<"a> SIZE=1"@example.test>') == Recipient('"a> SIZE=1"@example.test')


def test_a_declared_size_above_the_limit_is_refused_with_the_limit():
    assert "limit is 1000 octets" in refusal(
        parse_mail("FROM:<a@b.test> SIZE=1001", size_limit=LIMIT)
    )


def test_what_a_client_sent_is_echoed_without_control_characters():
    reply = refusal(parse_rcpt("TO:<\x85\u2028a@@b>", smtputf8=True))
    assert reply.isascii()
    assert reply.isprintable()


def test_an_orcpt_of_type_utf_8_is_written_in_utf_8_when_smtputf8_was_asked_for():
    assert isinstance(parse_rcpt("TO:<b@c.test> ORCPT=utf-8;ö@c.test", smtputf8=True), Recipient)
    assert isinstance(parse_rcpt("TO:<b@c.test> ORCPT=utf-8;ö@c.test"), Answer)


@given(st.text())
def test_no_text_makes_mail_or_rcpt_fail_otherwise_than_by_an_answer(text: str):
    for result in (
        parse_mail(f"FROM:{text}", size_limit=LIMIT),
        parse_mail(text, size_limit=LIMIT, extended=False),
        parse_rcpt(f"TO:<b@example.test> {text}"),
        parse_rcpt(f"TO:{text}", smtputf8=True),
    ):
        if isinstance(result, Answer):
            assert result.octets.endswith(b"\r\n")
            assert all(len(line) <= 510 for line in result.octets.split(b"\r\n"))
            assert result.octets.replace(b"\r\n", b"").decode("ascii").isprintable()


@given(st.binary(max_size=60))
def test_octets_written_as_xtext_are_xtext_exactly_where_they_are_printable(octets: bytes):
    encoded = "".join(
        chr(octet) if 33 <= octet <= 126 and octet not in b"+=" else f"+{octet:02X}"
        for octet in octets
    )
    assert is_xtext(encoded) == (bool(octets) and all(32 <= octet <= 126 for octet in octets))


@given(
    st.lists(
        st.sampled_from(["SIZE=1", "BODY=7BIT", "SMTPUTF8", "RET=FULL", "ENVID=x", "AUTH=<>"]),
        unique=True,
    ).flatmap(st.permutations)
)
def test_parameters_come_in_any_order(parameters: list[str]):
    result = parse_mail(f"FROM:<a@b.test> {' '.join(parameters)}", size_limit=LIMIT)
    assert isinstance(result, Mail)
    assert result.smtputf8 == ("SMTPUTF8" in parameters)

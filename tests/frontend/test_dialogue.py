"""Whatever is said in whatever order, content is asked for only where it may come."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from relay.config.model import Bounds
from relay.frontend import replies
from relay.frontend.budget import Budget
from relay.frontend.dialogue import Dialogue
from relay.frontend.replies import Answer

SAID = [
    ("EHLO", "client.test"),
    ("HELO", "client.test"),
    ("EHLO", ""),
    ("MAIL", "FROM:<a@b.test>"),
    ("MAIL", "FROM:<a@b.test> SIZE=999999999999"),
    ("MAIL", "nonsense"),
    ("RCPT", "TO:<c@d.test>"),
    ("RCPT", "TO:<nobody>"),
    ("DATA", ""),
    ("DATA", "x"),
    ("RSET", ""),
    ("NOOP", ""),
    ("VRFY", "x"),
]
commands = st.lists(st.sampled_from(SAID), max_size=30)


def make_dialogue(**bounds: object) -> Dialogue:
    service = SimpleNamespace(
        bounds=Bounds.model_validate(bounds),
        budget=Budget(1_000),
        disk_low=False,
        returns=None,
        hello=replies.OK,
        extensions_clear=replies.OK,
        extensions_tls=replies.OK,
    )
    return Dialogue(service)  # type: ignore[arg-type]  # what a dialogue reads of a service


def say(dialogue: Dialogue, verb: str, argument: str) -> Answer:
    answers = {
        "EHLO": dialogue.greet_extended,
        "HELO": dialogue.greet,
        "MAIL": dialogue.mail,
        "RCPT": dialogue.rcpt,
        "DATA": dialogue.data,
        "RSET": dialogue.rset,
        "NOOP": dialogue.noop,
        "VRFY": dialogue.vrfy,
    }
    return dialogue.out_of_order(verb) or answers[verb](argument)


@given(commands)
def test_nothing_is_relayed_in_the_clear(said: list[tuple[str, str]]):
    dialogue = make_dialogue()
    dialogue.credential = "app"  # even so
    for verb, argument in said:
        assert say(dialogue, verb, argument) not in (replies.SENDER_OK, replies.SEND_DATA)


@given(commands)
def test_nothing_is_relayed_without_a_login(said: list[tuple[str, str]]):
    dialogue = make_dialogue()
    dialogue.begin_anew("TLSv1.3")
    for verb, argument in said:
        assert say(dialogue, verb, argument) not in (replies.SENDER_OK, replies.SEND_DATA)


@given(commands)
def test_content_comes_after_mail_and_a_recipient_and_never_else(said: list[tuple[str, str]]):
    dialogue = make_dialogue()
    dialogue.begin_anew("TLSv1.3")
    say(dialogue, "EHLO", "client.test")
    dialogue.credential = "app"
    in_mail = False
    recipients: set[str] = set()  # who is named twice gets it once
    for verb, argument in said:
        answer = say(dialogue, verb, argument)
        if answer is replies.SENDER_OK:
            assert not in_mail
            in_mail = True
            recipients.clear()
        elif answer is replies.RECIPIENT_OK:
            assert in_mail
            recipients.add(argument)
        elif verb in ("EHLO", "HELO", "RSET") and answer.reply.is_positive:
            in_mail = False
        elif answer is replies.SEND_DATA:
            assert in_mail
            assert len(dialogue.envelope().recipients) == len(recipients) > 0
            dialogue.message_done()
            in_mail = False
        assert dialogue.between_messages == (not in_mail)


def test_from_the_limit_on_recipients_are_refused_for_now():
    dialogue = make_dialogue(recipients=2)
    dialogue.begin_anew("TLSv1.3")
    say(dialogue, "EHLO", "client.test")
    dialogue.credential = "app"
    say(dialogue, "MAIL", "FROM:<a@b.test>")
    codes = [say(dialogue, "RCPT", f"TO:<{n}@d.test>").reply.code for n in range(4)]
    assert codes == [250, 250, 452, 452]
    assert len(dialogue.envelope().recipients) == 2

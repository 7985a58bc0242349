"""A mail transaction while its commands come in."""

from relay.frontend import replies
from relay.frontend.commands import parse_mail
from relay.frontend.transaction import Transaction
from relay.mail.envelope import Recipient


def begun() -> Transaction:
    mail = parse_mail("FROM:<a@sender.test>", size_limit=1_000)
    assert not isinstance(mail, replies.Answer)
    return Transaction(mail)


def test_a_recipient_named_twice_gets_the_message_once_as_named_first() -> None:
    transaction = begun()
    first = Recipient("b@dest.test", notify=("NEVER",))
    assert transaction.add(first, 10) is replies.RECIPIENT_OK
    assert transaction.add(Recipient("b@dest.test"), 10) is replies.RECIPIENT_OK
    assert transaction.add(Recipient("c@dest.test"), 10) is replies.RECIPIENT_OK
    assert transaction.envelope().recipients == (first, Recipient("c@dest.test"))


def test_who_is_named_twice_counts_twice_for_the_bound() -> None:
    transaction = begun()
    answers = [transaction.add(Recipient("b@dest.test"), 2).reply.code for _ in range(3)]
    assert answers == [250, 250, 452]

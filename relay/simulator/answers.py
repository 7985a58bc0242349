"""How the simulator answers a recipient, by the local part of its address.

`bounce@` is unknown, `full@` has no room, `tempfail@` fails for now, `greylist@` fails once; a
`+label` may follow. Every other address is taken.
"""

from relay.mail.replies import Reply

ACCEPTED = Reply(250, "2.1.5", "Ok")
_GREYLISTED = Reply(451, "4.7.1", "Greylisted, please try again in a moment")
_ANSWERS = {
    "bounce": Reply(550, "5.1.1", "No such user here"),
    "full": Reply(452, "4.2.2", "The mailbox is full"),
    "tempfail": Reply(451, "4.3.0", "The mailbox is not available now"),
}


def answer(address: str, seen_before: bool) -> Reply:
    """The reply to RCPT for `address`; `seen_before` says whether it was tried earlier."""
    mailbox = address.partition("@")[0].partition("+")[0].lower()
    if mailbox == "greylist" and not seen_before:
        return _GREYLISTED
    return _ANSWERS.get(mailbox, ACCEPTED)

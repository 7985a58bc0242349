"""How the development server answers a recipient: as the mailbox simulator does a mailbox of that
name, whatever the domain. Every other address is taken.
"""

from relay.mail.replies import Reply
from relay.mail.simulated import MAILBOXES, mailbox_of

_ACCEPTED = Reply(250, "2.1.5", "Ok")


def answer(address: str, seen_before: bool) -> Reply:
    """The reply to RCPT for `address`; `seen_before` says whether it was tried earlier."""
    mailbox = MAILBOXES.get(mailbox_of(address))
    if mailbox is None:
        return _ACCEPTED
    return mailbox.reply if seen_before or mailbox.at_first is None else mailbox.at_first

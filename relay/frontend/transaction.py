"""A mail transaction while its commands come in: one MAIL, its recipients, then the envelope."""

from relay.frontend import replies
from relay.frontend.commands import Mail
from relay.frontend.replies import Answer
from relay.mail.envelope import Envelope, Recipient


class Transaction:
    """From MAIL to the end of data, RSET or the next EHLO."""

    __slots__ = ("_attempted", "_recipients", "_taken", "mail")

    def __init__(self, mail: Mail) -> None:
        self.mail = mail
        self._recipients: dict[str, Recipient] = {}
        self._attempted = False
        self._taken = 0

    def add(self, recipient: Recipient | Answer, limit: int) -> Answer:
        """The answer to RCPT; from `limit` recipients on, more are refused for now.

        Who is named twice gets the message once, as named first; it counts twice here.
        """
        self._attempted = True
        if isinstance(recipient, Answer):
            return recipient
        if self._taken >= limit:
            return replies.too_many_recipients(limit)
        self._taken += 1
        self._recipients.setdefault(recipient.address, recipient)
        return replies.RECIPIENT_OK

    def refusal(self) -> Answer | None:
        """Why DATA is refused now, or None."""
        if self._recipients:
            return None
        return replies.NO_RECIPIENTS if self._attempted else replies.RECIPIENT_FIRST

    def envelope(self) -> Envelope:
        mail = self.mail
        return Envelope(
            mail.reverse_path,
            tuple(self._recipients.values()),
            mail.body,
            mail.smtputf8,
            mail.ret,
            mail.envid,
        )

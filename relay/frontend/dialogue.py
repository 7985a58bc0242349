"""The order of commands as a state machine: what was said so far, and the answer to what comes.

Sans I/O. The facts that decide are few: whether TLS is on, who logged in, the name in EHLO, the
transaction under way. What needs the network (the handshake, the AUTH exchange, the content of a
message) is done by the session, which tells the outcome. Bounds are read when they are needed.
"""

import re

from relay.frontend import replies
from relay.frontend.commands import parse_mail, parse_rcpt
from relay.frontend.intake import Sender
from relay.frontend.replies import Answer
from relay.frontend.service import Service
from relay.frontend.transaction import Transaction
from relay.mail.envelope import Envelope, Recipient

_BEFORE_TLS = frozenset({"EHLO", "HELO", "STARTTLS", "NOOP", "QUIT"})
_HELO = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}").fullmatch
_ERRORS = 100  # wrong commands of a session, after which it is closed
_IDLE_COMMANDS = 1_000  # commands without a message between them, after which it is closed


class Dialogue:
    """One session as its commands see it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._extended = False
        self._transaction: Transaction | None = None
        self._messages = 0
        self._errors = 0
        self._idle_commands = 0
        self.client_name = ""
        self.tls = ""
        self.credential = ""

    @property
    def between_messages(self) -> bool:
        return self._transaction is None

    def out_of_order(self, verb: str) -> Answer | None:
        """The refusal of a known command because TLS must come first (RFC 3207 §4). A public
        server may not demand it: what comes back is taken without."""
        if self.tls or verb in _BEFORE_TLS or self._service.returns is not None:
            return None
        return replies.STARTTLS_FIRST

    # --- greeting, TLS, login

    def greet_extended(self, hostname: str) -> Answer:
        """EHLO."""
        if not self._greet(hostname, extended=True):
            return replies.HELO_SYNTAX
        service = self._service
        return self._idle(service.extensions_tls if self.tls else service.extensions_clear)

    def greet(self, hostname: str) -> Answer:
        """HELO."""
        if not self._greet(hostname, extended=False):
            return replies.HELO_SYNTAX
        return self._idle(self._service.hello)

    def _greet(self, hostname: str, *, extended: bool) -> bool:
        if not _HELO(hostname):
            return False
        self._transaction = None
        self.client_name = hostname
        self._extended = extended
        return True

    def starttls(self, argument: str) -> Answer:
        """`START_TLS`, or why there is no handshake now."""
        if argument:
            return replies.NO_PARAMETERS
        return replies.ALREADY_TLS if self.tls else replies.START_TLS

    def begin_anew(self, tls: str) -> None:
        """TLS is on, in this version: what was said in the clear is forgotten (RFC 3207 §4.2)."""
        self.tls = tls
        self.client_name = ""
        self._extended = False
        self._transaction = None

    def auth(self) -> Answer | None:
        """Why no login may begin."""
        if self._service.returns is not None:
            return replies.NO_LOGIN_HERE
        if not self._extended:
            return replies.GREET_FIRST
        return replies.ALREADY_LOGGED_IN if self.credential else None

    # --- the transaction

    def mail(self, argument: str) -> Answer:
        refusal = self._not_ready() or self._no_room()
        if refusal is not None:
            return refusal
        mail = parse_mail(
            argument, size_limit=self._service.bounds.message_size, extended=self._extended
        )
        if isinstance(mail, Answer):
            return mail
        self._transaction = Transaction(mail)
        return replies.SENDER_OK

    def _not_ready(self) -> Answer | None:
        if not self.client_name:
            return replies.GREET_FIRST
        if not self.credential and self._service.returns is None:
            return replies.LOGIN_FIRST
        return replies.NESTED_MAIL if self._transaction is not None else None

    def _no_room(self) -> Answer | None:
        service = self._service
        if self._messages >= service.bounds.messages_per_session:
            return replies.TOO_MANY_MESSAGES
        if service.disk_low:
            return replies.DISK_LOW
        return replies.IN_FLIGHT if service.budget.is_spent else None

    def rcpt(self, argument: str) -> Answer:
        transaction = self._transaction
        if transaction is None:
            return self._not_ready() or replies.MAIL_FIRST
        recipient = parse_rcpt(
            argument, smtputf8=transaction.mail.smtputf8, extended=self._extended
        )
        returns = self._service.returns
        if returns is not None and isinstance(recipient, Recipient):
            recipient = returns.refusal(recipient.address) or recipient
        return transaction.add(recipient, self._service.bounds.recipients)

    def data(self, argument: str) -> Answer:
        """`SEND_DATA`, or why no message may come now."""
        transaction = self._transaction
        if transaction is None:
            return self._not_ready() or replies.MAIL_FIRST
        if argument:
            return replies.NO_PARAMETERS
        refusal = transaction.refusal()
        if refusal is not None:
            return refusal
        self._messages += 1
        return replies.SEND_DATA

    def sender(self) -> Sender:
        """Who sends it."""
        return Sender(self.client_name, self.tls, self.credential)

    def envelope(self) -> Envelope:
        """Of the message that `data` let come."""
        if self._transaction is None:
            raise RuntimeError("there is no transaction")
        return self._transaction.envelope()

    def message_done(self) -> None:
        """The message was stored or refused."""
        self._transaction = None
        self._idle_commands = 0

    def rset(self, argument: str) -> Answer:
        if argument:
            return replies.NO_PARAMETERS
        self._transaction = None
        return self._idle(replies.OK)

    # --- the rest

    def noop(self, argument: str) -> Answer:
        return self._idle(replies.OK)

    def vrfy(self, argument: str) -> Answer:
        """Tells nothing: whether an address exists is not ours to say."""
        return self._idle(replies.NOT_VERIFIED)

    def help(self, argument: str) -> Answer:
        return self._idle(replies.HELP)

    def quit(self, argument: str) -> Answer:
        return replies.NO_PARAMETERS if argument else replies.BYE

    def _idle(self, answer: Answer) -> Answer:
        """Count a command that moves nothing on; after too many the answer is another."""
        self._idle_commands += 1
        return replies.TOO_MANY_COMMANDS if self._idle_commands > _IDLE_COMMANDS else answer

    def too_many_errors(self, answer: Answer) -> bool:
        """Count an answer; whether the client has now made too many errors."""
        self._errors += answer.is_error
        return self._errors >= _ERRORS

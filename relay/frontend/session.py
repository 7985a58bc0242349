"""One SMTP session: from the greeting, over TLS, login and messages, to the last reply.

The session is a state machine that a `Connection` drives: commands and content are taken inside the
callback in which they came, without a task, a future or a timer of their own. Most answers are a
`Dialogue`'s. What takes time (a login, the end of a message) is the session's one piece of *work*,
a task; what the client sends meanwhile waits.

Fails by closing: an error of ours is logged under a reference, and the client hears 451 with that
reference and nothing else. A session never ends another, and cancels nothing that is being stored:
a client that is gone is noticed when the work is done.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from math import inf

from relay.frontend import replies
from relay.frontend.connection import Connection
from relay.frontend.dialogue import Dialogue
from relay.frontend.intake import Reception
from relay.frontend.lines import AUTH_LINE, COMMAND_LINE, BadLine
from relay.frontend.login import LoginDesk
from relay.frontend.replies import Answer
from relay.frontend.service import Service
from relay.frontend.visit import Visit

_BREATH = 200  # commands answered from the buffer before other sessions have their turn
_HANDSHAKE = 30.0  # seconds


class _Unanswered(Exception):
    """The client will not answer what it was asked; `answer` is what it hears, if it is there."""

    def __init__(self, answer: Answer | None) -> None:
        super().__init__()
        self.answer = answer


class SmtpSession:
    """A session. `ended` is called once, when nothing of it is left."""

    __slots__ = (
        "_asked",
        "_began",
        "_dialogue",
        "_ended",
        "_has_heard",
        "_in_handshake",
        "_interrupted",
        "_is_closed",
        "_is_closing",
        "_is_over",
        "_is_sending",
        "_login_by",
        "_logins",
        "_loop",
        "_reception",
        "_service",
        "_work",
        "connection",
        "visit",
    )

    def __init__(
        self,
        service: Service,
        visit: Visit,
        ended: Callable[["SmtpSession"], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.visit = visit
        self.connection = Connection(self, loop)
        self._service = service
        self._ended = ended
        self._loop = loop
        self._dialogue = Dialogue(service)
        self._logins: LoginDesk | None = None
        self._reception: Reception | None = None
        self._work: asyncio.Task[None] | None = None
        self._asked: asyncio.Future[bytes] | None = None
        self._login_by = loop.time() + service.bounds.login_timeout
        self._began = self._in_handshake = self._interrupted = False
        self._is_closing = self._is_over = self._is_closed = False
        self._is_sending = False  # the client is sending what was refused before its end
        self._has_heard = True  # whether a line came since the deadline was set

    # --- for whoever began it

    @property
    def has_begun(self) -> bool:
        """Whether the connection was made."""
        return self._began

    def interrupt(self) -> None:
        """End when no message is under way: now, or after it."""
        self._interrupted = True
        if self._began and not self._is_over:
            self.go_on()

    def abort(self) -> None:
        """Cut the connection. A message that is being stored is stored all the same."""
        self.connection.abort()

    # --- told by the connection

    def began(self) -> None:
        self._began = True
        if self.visit.implicit_tls:
            self._shake_hands()
        else:
            self._greet()

    def secured(self, version: str) -> None:
        metrics = self._service.metrics
        metrics.child(metrics.tls_sessions, "in", version).inc()
        self._in_handshake = False
        self._dialogue.begin_anew(version)
        if self.visit.implicit_tls:
            self._greet()
        else:
            self.go_on()

    def not_secured(self, problem: str) -> None:
        self._is_closing = True
        visit, metrics = self.visit, self._service.metrics
        if visit.implicit_tls and visit.verdict:
            return  # counted as refused already
        metrics.child(metrics.connections_refused, visit.listener, "tls handshake").inc()
        self._service.log.debug(
            "TLS handshake failed", listener=visit.listener, client=visit.client, problem=problem
        )

    def timed_out(self) -> None:
        if self._asked is not None:
            self._leave_unanswered(replies.TIMED_OUT)
        elif self._work is None and self._reception is not None:
            if self._reception.is_refused:  # no need to have it whole
                self._perform(self._complete())
            else:
                self._perform(self._give_up(replies.TIMED_OUT))
        elif self._work is None:
            self._answer(replies.TIMED_OUT)
            self._end()

    def lost(self) -> None:
        if self._in_handshake and not self._is_closing:
            self.not_secured("the connection was lost")
        self.go_on()

    def is_closed(self) -> None:
        self._is_closed = True
        self._finish()

    def go_on(self) -> None:
        """The root of what callbacks set off."""
        if self._is_over:
            return
        try:
            self._advance()
        except Exception:
            self._answer(self._log_failure())
            self._end_when_free()
        if not self._is_over:
            self.connection.flush()

    # --- taking what comes

    def _advance(self) -> None:
        connection = self.connection
        for _ in range(_BREATH):
            if self._is_closing or connection.is_lost:
                self._end_when_free()
                return
            if self._in_handshake or connection.is_choked:
                return
            if self._work is not None and self._asked is None:
                return
            if self._reception is not None:
                if not self._take_content(self._reception):
                    return
            elif not self._take_line():
                return
        connection.go_on_later()

    def _take_line(self) -> bool:
        """Take the next line; False where none is there."""
        asked = self._asked
        try:
            line = self.connection.input.line(COMMAND_LINE if asked is None else AUTH_LINE)
        except BadLine as bad:
            if asked is None:
                self._answer(bad.answer)
            else:
                self._asked = None
                asked.set_exception(bad)
            return True
        if line is None:
            self._wait_for_line()
            return False
        self._has_heard = True
        if asked is None:
            self._command(line)
        else:
            self._asked = None
            asked.set_result(line)
        return True

    def _wait_for_line(self) -> None:
        if self._interrupted and self._dialogue.between_messages:
            if self._asked is not None:
                self._leave_unanswered(replies.SHUTTING_DOWN)
            else:
                self._answer(replies.SHUTTING_DOWN)
                self._end()
        elif self._has_heard:  # a line that comes octet by octet has its time in all
            self._has_heard = False
            deadline = self._loop.time() + self._service.bounds.command_timeout
            if not self._dialogue.credential:
                deadline = min(deadline, self._login_by)
            self.connection.deadline.set(deadline)

    def _take_content(self, reception: Reception) -> bool:
        """Take what came of a message; False where nothing did."""
        connection = self.connection
        octets = connection.input.content()
        if not octets:
            connection.deadline.set(reception.deadline)
            return False
        reception.feed(octets, self._loop.time())
        if reception.is_complete:
            connection.takes_content = False
            connection.input.put_back(reception.rest)
            self._perform(self._complete())
        elif reception.is_full:
            self._perform(self._spill())
        return True

    def _command(self, line: bytes) -> None:
        try:
            word, _, argument = line.decode().partition(" ")
        except UnicodeDecodeError:
            self._answer(replies.NOT_UTF8)
            return
        verb = word.upper() if word.isascii() else ""
        dialogue = self._dialogue
        answered, performed = _ANSWERED.get(verb), _PERFORMED.get(verb)
        if answered is None and performed is None:
            self._answer(replies.UNKNOWN_COMMAND)
        elif (refusal := dialogue.out_of_order(verb)) is not None:
            self._answer(refusal)
        elif answered is not None:
            self._answer(answered(dialogue, argument.strip(" ")))
        elif performed is not None:
            performed(self, argument.strip(" "))

    # --- answering

    def _greet(self) -> None:
        draining = replies.SHUTTING_DOWN if self._service.draining else None
        refusal = draining or replies.unwelcome(self.visit)
        self._answer(refusal or self._service.greeting)
        self.go_on()

    def _answer(self, answer: Answer) -> None:
        self.connection.say(answer.octets)
        if answer.reason:
            metrics = self._service.metrics
            metrics.child(metrics.commands_refused, self.visit.listener, answer.reason).inc()
            if self._dialogue.too_many_errors(answer) and not self._is_closing:
                self.connection.say(replies.TOO_MANY_ERRORS.octets)
                self._is_closing = True
        if answer.closes:
            self._is_closing = True

    def _log_failure(self) -> Answer:
        reference = secrets.token_hex(4)
        self._service.log.exception(
            "session failed",
            reference=reference,
            listener=self.visit.listener,
            client=self.visit.client,
            credential=self._dialogue.credential,
        )
        return replies.failed(reference)

    # --- what takes time

    def _perform(self, work: Coroutine[None, None, None]) -> None:
        """Begin a piece of work; until it is done the client waits, and no deadline runs."""
        self.connection.deadline.set(inf)
        self._has_heard = True
        self._work = self._loop.create_task(self._to_its_end(work))

    async def _to_its_end(self, work: Coroutine[None, None, None]) -> None:
        """The root of the session's task."""
        try:
            await work
        except BadLine as bad:
            self._answer(bad.answer)
        except _Unanswered as ending:
            self._is_closing = True
            if ending.answer is not None:
                self._answer(ending.answer)
        except Exception:
            self._reception = None
            self._answer(self._log_failure())
        finally:
            self._work = None
        self.go_on()
        self._finish()

    async def _log_in(self, argument: str) -> None:
        if self._logins is None:
            self._logins = LoginDesk(self._service, self.visit.listener, self.visit.client)
        outcome = await self._logins.log_in(argument, self._ask)
        self._dialogue.credential = outcome.credential
        for answer in outcome.answers:
            self._answer(answer)

    async def _ask(self, challenge: bytes) -> bytes:
        self.connection.say(challenge)
        asked: asyncio.Future[bytes] = self._loop.create_future()
        self._asked = asked
        self.go_on()
        return await asked

    def _leave_unanswered(self, answer: Answer | None) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.set_exception(_Unanswered(answer))

    async def _spill(self) -> None:
        if self._reception is not None:
            await self._reception.spill()
            self._reception.go_on(self._loop.time())

    async def _complete(self) -> None:
        """From the end of a message to its reply."""
        reception = self._reception
        assert reception is not None
        result = await reception.complete(lambda: self.connection.is_lost)
        self._reception = None
        self._dialogue.message_done()
        if isinstance(result, Answer):  # counted as a message refused, not as a command
            self.connection.say(result.octets)
            self._is_closing, self._is_sending = result.closes, result.is_early
        else:
            self.connection.say(result)

    async def _give_up(self, answer: Answer | None) -> None:
        """Forget the message that did not come to its end, and close."""
        reception, self._reception = self._reception, None
        self._is_closing = True
        if reception is not None:
            await reception.discard()
        if answer is not None:
            self._answer(answer)

    # --- the end

    def _end_when_free(self) -> None:
        if self._asked is not None:
            self._leave_unanswered(None)
        elif self._work is not None:
            return
        elif self._reception is not None:
            self._perform(self._give_up(None))
        else:
            self._end()

    def _end(self) -> None:
        """The conversation is over; the connection is when the last reply was taken."""
        self._is_over = True
        if self._dialogue.credential:
            self._service.gatekeeper.log_out(self._dialogue.credential)
        self.connection.end(is_sending=self._is_sending)

    def _finish(self) -> None:
        if self._is_closed and self._is_over and self._work is None:
            self._ended(self)

    # --- commands that need more than an answer

    def _shake_hands(self) -> None:
        self._in_handshake = True
        until = min(self._login_by, self._loop.time() + _HANDSHAKE)
        self.connection.secure(self._service.tls, until)

    def smtp_STARTTLS(self, argument: str) -> None:
        answer = self._dialogue.starttls(argument)
        self._answer(answer)
        if answer is replies.START_TLS:
            self._shake_hands()

    def smtp_AUTH(self, argument: str) -> None:
        refusal = self._dialogue.auth()
        if refusal is not None:
            self._answer(refusal)
        else:
            self._perform(self._log_in(argument))

    def smtp_DATA(self, argument: str) -> None:
        dialogue = self._dialogue
        answer = dialogue.data(argument)
        self._answer(answer)
        if answer is replies.SEND_DATA:
            self.connection.takes_content = True
            self._reception = Reception(
                self._service, self.visit, dialogue.sender(), dialogue.envelope(), self._loop.time()
            )

    def smtp_BDAT(self, argument: str) -> None:
        """CHUNKING is not offered. Octets follow that are no commands and must not be read."""
        self._answer(replies.NO_CHUNKING)


# Commands that the dialogue answers by itself.
_ANSWERED: dict[str, Callable[[Dialogue, str], Answer]] = {
    "EHLO": Dialogue.greet_extended,
    "HELO": Dialogue.greet,
    "MAIL": Dialogue.mail,
    "RCPT": Dialogue.rcpt,
    "RSET": Dialogue.rset,
    "NOOP": Dialogue.noop,
    "QUIT": Dialogue.quit,
    "HELP": Dialogue.help,
    "VRFY": Dialogue.vrfy,
    "EXPN": Dialogue.vrfy,
}
# Commands of which the session does a part.
_PERFORMED: dict[str, Callable[[SmtpSession, str], None]] = {
    "STARTTLS": SmtpSession.smtp_STARTTLS,
    "AUTH": SmtpSession.smtp_AUTH,
    "DATA": SmtpSession.smtp_DATA,
    "BDAT": SmtpSession.smtp_BDAT,
}

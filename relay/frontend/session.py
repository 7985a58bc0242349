"""One client session: aiosmtpd's `SMTP` with its reader, loop, timers and handlers replaced.

Of aiosmtpd is kept the shape: a protocol object for a connection, a coroutine `_handle_client` that
runs it, a method `smtp_VERB` for what a command does. Octets are a `Channel`'s, the order of
commands and most of their answers a `Dialogue`'s, logins a `LoginDesk`'s, and a message is taken by
`intake`. Left here: the callbacks of the loop, the life of the session, TLS.

Fails by closing: an error of ours is logged under a reference, and the client hears 451 with that
reference and nothing else. A session never ends another, and cancels nothing that is being stored.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import cast

from aiosmtpd.smtp import SMTP

from relay.frontend import replies
from relay.frontend.channel import (
    AUTH_LINE,
    BadLine,
    Channel,
    ConnectionLost,
    Interrupted,
    TimedOut,
)
from relay.frontend.dialogue import Dialogue
from relay.frontend.handshake import HandshakeFailed, shake_hands, version
from relay.frontend.intake import Sender, take_message
from relay.frontend.login import LoginDesk
from relay.frontend.replies import Answer
from relay.frontend.service import Service
from relay.frontend.visit import Visit

_BREATH = 200  # commands answered from the buffer before other sessions have their turn
_SWALLOW = 1.0  # seconds in which a client that is sending may notice that it was refused
_LINGER = 10.0  # seconds for the last reply to be taken


class SmtpSession(SMTP):
    """A session. `ended` is called once, when nothing of it is left."""

    def __init__(
        self,
        service: Service,
        visit: Visit,
        ended: Callable[["SmtpSession"], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        # Not aiosmtpd's constructor: it looks through all methods of itself and its handler for
        # each connection (some 80 µs) to fill tables of which only that of the commands is used,
        # and makes a StreamReader. What its kept methods need is set here.
        self.loop = loop
        self.transport = None
        self._handler_coroutine = None
        self.visit = visit
        self._service = service
        self._ended = ended
        self._channel = Channel(loop)
        self._dialogue = Dialogue(service)
        self._logins = LoginDesk(service, visit.listener, visit.client)
        self._wire: asyncio.Transport | None = None
        self._closing = False
        self._is_sending = False
        self._connection_is_lost = False
        self._linger: asyncio.TimerHandle | None = None
        self._login_by = loop.time() + service.bounds.login_timeout

    # --- callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._speak_through(transport)
        if self.visit.implicit_tls:
            self._begin_anew(transport)
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    def _speak_through(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._wire = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self._channel.attach(self._wire)

    def data_received(self, data: bytes) -> None:
        self._channel.feed(data)

    def eof_received(self) -> bool:
        self._channel.lose()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._channel.lose()
        self._connection_is_lost = True
        self._finish()

    def pause_writing(self) -> None:
        self._channel.pause_writing()

    def resume_writing(self) -> None:
        self._channel.resume_writing()

    # --- the life of a session

    @property
    def began(self) -> bool:
        """Whether the connection was made (for implicit TLS: the handshake done)."""
        return self._wire is not None

    def interrupt(self) -> None:
        """End when no message is under way: now, or after it."""
        self._channel.interrupt()

    def abort(self) -> None:
        """Cut the connection. A message that is being stored is stored all the same."""
        self._channel.lose()
        if self._wire is not None:
            self._wire.abort()

    async def _handle_client(self) -> None:
        """The root of the session's task."""
        try:
            await self._converse()
        except ConnectionLost:
            pass
        except Interrupted:
            self._answer(replies.SHUTTING_DOWN)
        except TimedOut:
            self._answer(replies.TIMED_OUT)
        except Exception:
            self._answer(self._log_failure())
        finally:
            self._end()

    async def _converse(self) -> None:
        channel, dialogue = self._channel, self._dialogue
        self._answer(self._refusal() or self._service.greeting)
        breath = 0
        while not self._closing:
            channel.interruptible(dialogue.between_messages)
            self._set_deadline()
            try:
                line = await channel.line()
                await self._command(line)
            except BadLine as bad:
                self._answer(bad.answer)
            breath += 1
            if breath >= _BREATH:
                breath = 0
                channel.flush()
                await asyncio.sleep(0)
        if channel.has_input or self._is_sending:
            await channel.swallow(_SWALLOW)

    def _refusal(self) -> Answer | None:
        """What is said instead of the greeting."""
        return replies.SHUTTING_DOWN if self._service.draining else replies.unwelcome(self.visit)

    def _set_deadline(self) -> None:
        deadline = self.loop.time() + self._service.bounds.command_timeout
        self._channel.deadline = (
            deadline if self._dialogue.credential else min(deadline, self._login_by)
        )

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

    def _end(self) -> None:
        """The conversation is over; the connection is when the last reply was taken."""
        if self._dialogue.credential:
            self._service.gatekeeper.log_out(self._dialogue.credential)
        self._channel.close()
        if not self._connection_is_lost and self._wire is not None:
            self._linger = self.loop.call_later(_LINGER, self._wire.abort)
        self._handler_coroutine = None
        self._finish()

    def _finish(self) -> None:
        if self._connection_is_lost and self._handler_coroutine is None:
            if self._linger is not None:
                self._linger.cancel()
            self._ended(self)

    def _answer(self, answer: Answer) -> None:
        self._channel.say(answer.octets)
        if answer.reason:
            metrics = self._service.metrics
            metrics.child(metrics.commands_refused, self.visit.listener, answer.reason).inc()
            if self._dialogue.too_many_errors(answer) and not self._closing:
                self._channel.say(replies.TOO_MANY_ERRORS.octets)
                self._closing = True
        if answer.closes:
            self._closing = True

    async def _command(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        try:
            verb = word.decode("ascii").upper()
            argument = rest.decode().strip(" ")
        except UnicodeDecodeError:
            self._answer(replies.NOT_UTF8)
            return
        answered, performed = _ANSWERED.get(verb), _PERFORMED.get(verb)
        refusal = self._dialogue.out_of_order(verb)
        if answered is None and performed is None:
            self._answer(replies.UNKNOWN_COMMAND)
        elif refusal is not None:
            self._answer(refusal)
        elif answered is not None:
            self._answer(answered(self._dialogue, argument))
        elif performed is not None:
            await performed(self, argument)

    # --- TLS

    async def smtp_STARTTLS(self, argument: str) -> None:
        answer = self._dialogue.starttls(argument)
        self._answer(answer)
        if answer is not replies.START_TLS:
            return
        self._channel.detach()
        wire = cast("asyncio.Transport", self._wire)
        seconds = self._login_by - self.loop.time()
        try:
            encrypted = await shake_hands(wire, self, self._service.tls, seconds)
        except HandshakeFailed as problem:
            self.note_failed_handshake(str(problem))
            self._channel.lose()
            self._connection_is_lost = True
            raise ConnectionLost from problem
        self._speak_through(encrypted)
        self._begin_anew(encrypted)

    def _begin_anew(self, encrypted: asyncio.BaseTransport) -> None:
        tls, metrics = version(encrypted), self._service.metrics
        metrics.child(metrics.tls_sessions, "in", tls).inc()
        self._dialogue.begin_anew(tls)

    def note_failed_handshake(self, problem: str) -> None:
        """Count it."""
        visit, metrics = self.visit, self._service.metrics
        metrics.child(metrics.connections_refused, visit.listener, "tls handshake").inc()
        self._service.log.debug(
            "TLS handshake failed",
            listener=visit.listener,
            client=visit.client,
            problem=problem,
        )

    # --- commands

    async def smtp_AUTH(self, argument: str) -> None:
        refusal = self._dialogue.auth()
        if refusal is not None:
            self._answer(refusal)
            return
        outcome = await self._logins.log_in(argument, self._ask)
        self._dialogue.credential = outcome.credential
        for answer in outcome.answers:
            self._answer(answer)

    async def _ask(self, challenge: bytes) -> bytes:
        self._channel.say(challenge)
        return await self._channel.line(AUTH_LINE)

    async def smtp_DATA(self, argument: str) -> None:
        dialogue = self._dialogue
        answer = dialogue.data(argument)
        self._answer(answer)
        if answer is not replies.SEND_DATA:
            return
        visit = self.visit
        result = await take_message(
            self._service,
            self._channel,
            Sender(
                visit.listener,
                visit.client,
                dialogue.client_name,
                dialogue.tls,
                dialogue.credential,
            ),
            dialogue.envelope(),
            self.loop.time,
        )
        dialogue.message_done()
        if isinstance(result, Answer):  # counted as a message refused, not as a command
            self._channel.say(result.octets)
            self._closing, self._is_sending = result.closes, result.is_early
        else:
            self._channel.say(result)

    async def smtp_BDAT(self, argument: str) -> None:
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
# Commands that need the network.
_PERFORMED: dict[str, Callable[[SmtpSession, str], Awaitable[None]]] = {
    "STARTTLS": SmtpSession.smtp_STARTTLS,
    "AUTH": SmtpSession.smtp_AUTH,
    "DATA": SmtpSession.smtp_DATA,
    "BDAT": SmtpSession.smtp_BDAT,
}

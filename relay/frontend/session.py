"""One client session: aiosmtpd's `SMTP` with its reader, loop, timers and handlers replaced.

Of aiosmtpd are kept the shape (a protocol object for a connection, a coroutine that runs it, a
`smtp_VERB` method for each command) and the table of those methods. Octets are a `Channel`'s, the
order of commands a `Dialogue`'s, logins a `LoginDesk`'s, the message is taken in `intake`. Left
here: the callbacks of the loop, the life of the session, TLS.

Fails by closing: an error of ours is logged under a reference, and the client hears 451 with that
reference and nothing else. A session never ends another, and cancels nothing that is being stored.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn, cast

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
from relay.frontend.intake import Sender, take_message
from relay.frontend.login import LoginDesk
from relay.frontend.replies import Answer
from relay.frontend.service import Service

_BREATH = 200  # commands answered from the buffer before other sessions have their turn
_LINGER = 10.0  # seconds for the last reply to be taken
_TLS_SHUTDOWN = 5.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who connected, where, and how; `refusal` is said instead of the greeting."""

    listener: str
    client: str
    implicit_tls: bool = False
    refusal: Answer | None = None


class SmtpSession(SMTP):
    """A session. `ended` is called once, when nothing of it is left."""

    def __init__(
        self,
        service: Service,
        caller: Caller,
        ended: Callable[["SmtpSession"], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        # Not aiosmtpd's constructor: it looks through all methods of itself and its handler for
        # each connection (some 80 µs) to fill tables of which only that of the commands is used,
        # and makes a StreamReader. What its kept methods need is set here.
        self.loop = loop
        self.transport = None
        self._handler_coroutine = None
        self.caller = caller
        self._service = service
        self._ended = ended
        self._channel = Channel(loop)
        self._dialogue = Dialogue(service)
        self._logins = LoginDesk(service, caller.listener, caller.client)
        self._wire: asyncio.Transport | None = None
        self._closing = False
        self._connection_is_lost = False
        self._linger: asyncio.TimerHandle | None = None
        self._login_by = loop.time() + service.bounds.login_timeout

    # --- callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._speak_through(transport)
        if self.caller.implicit_tls:
            self._begin_anew()
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
        self._answer(self.caller.refusal or self._service.greeting)
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
            listener=self.caller.listener,
            client=self.caller.client,
            credential=self._dialogue.credential,
        )
        return replies.failed(reference)

    def _end(self) -> None:
        """The conversation is over; the connection is when the last reply was taken."""
        if self._dialogue.credential:
            self._service.guard.log_out(self._dialogue.credential)
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
            metrics.child(metrics.commands_refused, self.caller.listener, answer.reason).inc()
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
        method = _COMMANDS.get(verb)
        if method is None:
            self._answer(replies.UNKNOWN_COMMAND)
            return
        refusal = self._dialogue.out_of_order(verb)
        if refusal is not None:
            self._answer(refusal)
        else:
            await method(self, argument)

    # --- TLS

    async def smtp_STARTTLS(self, argument: str) -> None:
        answer = self._dialogue.starttls(argument)
        self._answer(answer)
        if answer is replies.START_TLS:
            self._channel.detach()
            self._speak_through(await self._shake_hands())
            self._begin_anew()

    async def _shake_hands(self) -> asyncio.BaseTransport:
        """The encrypted transport. Raises `ConnectionLost` where the handshake fails."""
        try:
            transport = await self.loop.start_tls(
                cast("asyncio.Transport", self._wire),
                self,
                self._service.tls,
                server_side=True,
                ssl_handshake_timeout=max(1.0, self._login_by - self.loop.time()),
                ssl_shutdown_timeout=_TLS_SHUTDOWN,
            )
        except OSError as problem:  # ssl.SSLError, a lost connection and a time-out are such
            self._lose_handshake(str(problem))
        if transport is None:  # the client left in the middle of it
            self._lose_handshake("connection lost")
        return transport

    def _lose_handshake(self, problem: str) -> NoReturn:
        caller, metrics = self.caller, self._service.metrics
        metrics.child(metrics.connections_refused, caller.listener, "tls handshake").inc()
        self._service.log.debug(
            "TLS handshake failed", listener=caller.listener, client=caller.client, problem=problem
        )
        # The loop does not call `connection_lost` for a handshake that failed.
        self._channel.lose()
        self._connection_is_lost = True
        raise ConnectionLost

    def _begin_anew(self) -> None:
        assert self._wire is not None
        version = self._wire.get_extra_info("ssl_object").version() or "TLS"
        metrics = self._service.metrics
        metrics.child(metrics.tls_sessions, "in", version).inc()
        self._dialogue.begin_anew(version)

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
        caller = self.caller
        result = await take_message(
            self._service,
            self._channel,
            Sender(
                caller.listener, caller.client, dialogue.helo, dialogue.tls, dialogue.credential
            ),
            dialogue.envelope(),
            self.loop.time,
        )
        dialogue.message_done()
        if isinstance(result, Answer):  # counted as a message refused, not as a command
            self._channel.say(result.octets)
            self._closing = result.closes
        else:
            self._channel.say(result)

    async def smtp_EHLO(self, hostname: str) -> None:
        self._answer(self._dialogue.ehlo(hostname))

    async def smtp_HELO(self, hostname: str) -> None:
        self._answer(self._dialogue.helo_(hostname))

    async def smtp_MAIL(self, arg: str | None) -> None:
        self._answer(self._dialogue.mail(arg or ""))

    async def smtp_RCPT(self, arg: str | None) -> None:
        self._answer(self._dialogue.rcpt(arg or ""))

    async def smtp_RSET(self, arg: str) -> None:
        self._answer(self._dialogue.rset(arg))

    async def smtp_NOOP(self, arg: str) -> None:
        self._answer(self._dialogue.noop())

    async def smtp_QUIT(self, arg: str) -> None:
        self._answer(self._dialogue.quit(arg))

    async def smtp_HELP(self, arg: str) -> None:
        self._answer(self._dialogue.help())

    async def smtp_VRFY(self, arg: str) -> None:
        self._answer(self._dialogue.vrfy())

    async def smtp_EXPN(self, arg: str) -> None:
        self._answer(self._dialogue.vrfy())

    async def smtp_BDAT(self, arg: str) -> None:
        """CHUNKING is not offered. Octets follow that are no commands and must not be read."""
        self._answer(replies.NO_CHUNKING)


_COMMANDS: dict[str, Callable[[SmtpSession, str], Awaitable[None]]] = {
    name.removeprefix("smtp_"): getattr(SmtpSession, name)
    for name in vars(SmtpSession)
    if name.startswith("smtp_")
}

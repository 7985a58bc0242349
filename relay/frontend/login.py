"""Logging in: the exchange, the check, and what a failure costs.

A failed login is answered late, counted against client and user name, and the last one that a
session may have closes it. While a client or a user name is blocked no hash is computed for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relay.frontend import replies
from relay.frontend.auth import Ask, Login, read_login
from relay.frontend.authenticator import AuthenticationUnavailable
from relay.frontend.replies import Answer
from relay.frontend.service import Service

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the client hears, and the credential it now has (empty: none)."""

    answers: tuple[Answer, ...]
    credential: str = ""


class LoginDesk:
    """The logins of one session."""

    def __init__(
        self, service: Service, listener: str, client: str, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._service = service
        self._listener = listener
        self._client = client
        self._sleep = sleep
        self._failures = 0

    async def log_in(self, argument: str, ask: Ask) -> Outcome:
        """AUTH with `argument`, to its end. A credential in the outcome is counted by the
        guard, and must be logged out of it."""
        login = await read_login(argument, ask)
        if isinstance(login, Login):
            return await self._check(login)
        if login is replies.AUTH_INVALID:
            return await self._failed("")
        return Outcome((login,))

    async def _check(self, login: Login) -> Outcome:
        gatekeeper = self._service.gatekeeper
        blocked = gatekeeper.client_blocked(self._client)
        if blocked:
            return self._refuse("blocked", replies.blocked(blocked))
        authenticator = self._service.authenticator
        once = authenticator.take_once(login.username, login.password)
        if once:
            return await self._admit(login.username, once)
        try:
            credential = await authenticator.check(
                login.username,
                login.password,
                self._client,
                remembered_only=bool(gatekeeper.user_blocked(login.username)),
            )
        except AuthenticationUnavailable:
            return self._refuse("unavailable", replies.AUTH_UNAVAILABLE)
        if credential is None:
            return await self._failed(login.username)
        return await self._admit(credential)

    async def _admit(self, credential: str, once: str = "") -> Outcome:
        if await self._service.gatekeeper.log_in(credential, once):
            self._count("ok")
            return Outcome((replies.LOGGED_IN,), credential)
        if once:
            return self._refuse("used", replies.AUTH_INVALID)
        return self._refuse("connections", replies.TOO_MANY_CONNECTIONS)

    async def _failed(self, username: str) -> Outcome:
        service = self._service
        service.gatekeeper.failed(self._client, username)
        self._failures += 1
        self._count("failed")
        service.log.info(
            "login failed",
            listener=self._listener,
            client=self._client,
            # What is no credential's name may be a password typed in the wrong place.
            credential=username if service.authenticator.knows(username) else "",
        )
        await self._sleep(service.bounds.failed_login_delay)
        if self._failures >= service.bounds.failed_logins:
            return Outcome((replies.AUTH_INVALID, replies.TOO_MANY_FAILURES))
        return Outcome((replies.AUTH_INVALID,))

    def _refuse(self, result: str, answer: Answer) -> Outcome:
        self._count(result)
        return Outcome((answer,))

    def _count(self, result: str) -> None:
        metrics = self._service.metrics
        metrics.child(metrics.logins, self._listener, result).inc()

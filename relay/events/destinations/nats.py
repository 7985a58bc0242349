"""A stream of NATS JetStream. The message id of NATS is the event's, by which it drops duplicates.

Needs `nats-py` (`relay[nats]`). An event is told once JetStream has acknowledged it.
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from typing import Any

from relay.config.events import NatsStream
from relay.events.destinations.interface import DestinationError
from relay.events.notification import Notification
from relay.events.patience import Failed, Outcome, Refused, Told

try:
    from nats.aio.client import Client
    from nats.errors import Error as NatsError
    from nats.errors import MaxPayloadError
    from nats.js import JetStreamContext
except ImportError as error:
    raise DestinationError(
        "type nats needs the client of NATS: pip install 'relay[nats]'"
    ) from error


# What the client would log in a form of its own is told as the outcome of a telling.
logging.getLogger("nats").setLevel(logging.CRITICAL)
_BETWEEN_S = 0.1


class NatsDestination:
    """Connects when there is something to tell, and anew after any failure."""

    batch = 100
    concurrency = 1

    def __init__(self, config: NatsStream) -> None:
        self._config = config
        self._client: Client | None = None
        self._context = _context(config)
        self._last_error: Exception | None = None

    async def tell(self, notifications: Sequence[Notification]) -> Sequence[Outcome]:
        try:
            stream = await self._stream()
        except (NatsError, OSError, TimeoutError) as error:
            cause = self._last_error or error
            await self.close()
            return [Failed(f"no connection: {_said(cause)}")] * len(notifications)
        outcomes = await asyncio.gather(*(self._publish(stream, one) for one in notifications))
        if any(isinstance(outcome, Failed) for outcome in outcomes):
            await self.close()
        return outcomes

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                async with asyncio.timeout(self._config.timeout):
                    await client.close()
            except (NatsError, OSError, TimeoutError):
                return  # it is gone all the same

    async def _stream(self) -> JetStreamContext:
        if self._client is None or not self._client.is_connected:
            await self.close()
            config = self._config
            logins: dict[str, Any] = {
                "user": config.username or None,
                "password": config.password or None,
                "token": config.token or None,
                "user_credentials": str(config.credentials) if config.credentials else None,
            }
            self._last_error = None
            self._client = Client()
            async with asyncio.timeout(config.timeout):
                await self._client.connect(
                    list(config.servers),
                    name="relay",
                    allow_reconnect=False,  # patience is the teller's, with each server tried twice
                    max_reconnect_attempts=1,
                    reconnect_time_wait=_BETWEEN_S,  # type: ignore[arg-type]  # it only sleeps it
                    connect_timeout=max(1, int(config.timeout)),
                    error_cb=self._note,
                    tls=self._context,
                    **{key: value for key, value in logins.items() if value},
                )
        return self._client.jetstream(timeout=self._config.timeout)

    async def _publish(self, stream: JetStreamContext, notification: Notification) -> Outcome:
        event = notification.event
        try:
            answer = await stream.publish(
                subject_of(self._config.subject, notification),
                notification.content,
                headers={"Nats-Msg-Id": event.id, "Relay-Event-Type": event.type},
            )
        except MaxPayloadError as error:
            return Refused(_said(error))
        except (NatsError, OSError, TimeoutError) as error:
            return Failed(_said(error))
        return Told(f"{answer.stream} {answer.seq}")

    async def _note(self, error: Exception) -> None:
        """The client says why a server cannot be connected to here, and not where it gives up."""
        self._last_error = error


def subject_of(pattern: str, notification: Notification) -> str:
    """The subject of an event. What belongs to no set goes to `none`."""
    return pattern.replace("{type}", notification.event.type).replace(
        "{configuration_set}", notification.configuration_set or "none"
    )


def _context(config: NatsStream) -> ssl.SSLContext | None:
    if config.ca is None and not any(server.startswith("tls:") for server in config.servers):
        return None
    try:
        return ssl.create_default_context(cafile=config.ca)
    except OSError as error:
        raise DestinationError(f"ca {config.ca} cannot be used: {error}") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

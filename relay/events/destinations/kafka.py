"""A topic of Kafka. The key of a record is the id of the message, so that events of a message are
in one partition and stay in order.

Needs `aiokafka` (`relay[kafka]`). An event is told once all replicas that are in sync have it.
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence

from relay.config.events import KafkaTopic
from relay.events.destinations.interface import DestinationError
from relay.events.notification import Notification
from relay.events.patience import Failed, Outcome, Refused, Told

try:
    from aiokafka import AIOKafkaProducer
    from aiokafka.errors import KafkaError, MessageSizeTooLargeError
except ImportError as error:
    raise DestinationError(
        "type kafka needs the client of Kafka: pip install 'relay[kafka]'"
    ) from error


# What the client would log in a form of its own is told as the outcome of a telling.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class KafkaDestination:
    """Connects when there is something to tell, and anew after any failure."""

    batch = 200
    concurrency = 1

    def __init__(self, config: KafkaTopic) -> None:
        self._config = config
        self._context = _context(config)
        self._producer: AIOKafkaProducer | None = None

    async def tell(self, notifications: Sequence[Notification]) -> Sequence[Outcome]:
        try:
            producer = await self._connected()
        except (KafkaError, OSError, TimeoutError) as error:
            return [Failed(f"no connection: {_said(error)}")] * len(notifications)
        outcomes = await asyncio.gather(*(self._send(producer, one) for one in notifications))
        if any(isinstance(outcome, Failed) for outcome in outcomes):
            await self.close()
        return outcomes

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer, self._config.timeout)

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            config = self._config
            sasl = bool(config.username)
            milliseconds = round(config.timeout * 1000)
            producer = AIOKafkaProducer(
                bootstrap_servers=list(config.brokers),
                client_id="relay",
                acks="all",
                # An idempotent producer tries for ever by itself, and cannot be stopped meanwhile.
                # Nothing is lost without: of one message one record is on its way at a time.
                enable_idempotence=False,
                request_timeout_ms=milliseconds,
                security_protocol=("SASL_" if sasl else "")
                + ("SSL" if config.tls else "PLAINTEXT"),
                ssl_context=self._context,
                sasl_mechanism=config.mechanism.upper() if sasl else "PLAIN",
                sasl_plain_username=config.username or None,
                sasl_plain_password=config.password or None,
            )
            try:
                async with asyncio.timeout(config.timeout):
                    await producer.start()
            except BaseException:
                await _stop(producer, config.timeout)
                raise
            self._producer = producer
        return self._producer

    async def _send(self, producer: AIOKafkaProducer, notification: Notification) -> Outcome:
        event = notification.event
        try:
            # The client ends by itself within its time for a request, and one that is under way.
            async with asyncio.timeout(2 * self._config.timeout + 1):
                record = await producer.send_and_wait(
                    self._config.topic,
                    notification.content,
                    key=(event.message_id or event.id).encode(),
                    headers=[("event-id", event.id.encode()), ("event-type", event.type.encode())],
                )
        except MessageSizeTooLargeError as error:
            return Refused(_said(error))
        except (KafkaError, OSError, TimeoutError) as error:
            return Failed(_said(error))
        return Told(f"partition {record.partition} offset {record.offset}")


async def _stop(producer: AIOKafkaProducer, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            await producer.stop()
    except (KafkaError, OSError, TimeoutError):
        return  # it is gone all the same


def _context(config: KafkaTopic) -> ssl.SSLContext | None:
    if not config.tls:
        return None
    try:
        return ssl.create_default_context(cafile=config.ca)
    except OSError as error:
        raise DestinationError(f"ca {config.ca} cannot be used: {error}") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

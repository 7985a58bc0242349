"""HTTP requests: one for each event, as SES's JSON, or in the envelope of Amazon SNS."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec

from relay import __version__
from relay.config.events import SnsEndpoint, Webhook
from relay.events.destinations.guard import Forbidden, Guard, locate
from relay.events.destinations.http_client import HttpClient, HttpError
from relay.events.destinations.interface import DestinationError
from relay.events.destinations.signature import signature
from relay.events.notification import Notification
from relay.events.patience import Failed, Outcome, judge
from relay.events.times import iso

USER_AGENT = f"relay/{__version__}"

_encode = msgspec.json.Encoder().encode


class HttpDestination:
    """A webhook or an endpoint of SNS. `wall` gives UTC milliseconds. Raises `DestinationError`."""

    batch = 1

    def __init__(self, config: Webhook | SnsEndpoint, wall: Callable[[], int]) -> None:
        self.concurrency = config.concurrency
        self._config = config
        self._wall = wall
        context = _context(config)
        # Name servers that are silent hold up nobody but this destination.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lookup")
        look_up = partial(locate, guard=Guard(config.allow), thread=self._thread)
        self._client = HttpClient(config.url, look_up, context, config.timeout)

    async def tell(self, notifications: Sequence[Notification]) -> Sequence[Outcome]:
        """See `Destination`."""
        return await asyncio.gather(*map(self._post, notifications))

    async def close(self) -> None:
        await self._client.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _post(self, notification: Notification) -> Outcome:
        headers, body = request_of(notification, self._config, self._wall())
        try:
            answer = await self._client.post(headers, body)
        except (HttpError, Forbidden) as error:
            return Failed(str(error))
        return judge(answer.status, answer.retry_after, answer.text)


def _context(config: Webhook | SnsEndpoint) -> ssl.SSLContext | None:
    if config.url.lower().startswith("http:"):
        return None
    try:
        return ssl.create_default_context(cafile=config.ca)
    except OSError as error:
        raise DestinationError(f"ca {config.ca} cannot be used: {error}") from error


def request_of(
    notification: Notification, config: Webhook | SnsEndpoint, now: int
) -> tuple[dict[str, str], bytes]:
    """The header fields and the body of a request at that time (UTC ms)."""
    event = notification.event
    body, headers = notification.content, {"Content-Type": "application/json; charset=utf-8"}
    if isinstance(config, SnsEndpoint):
        headers = sns_headers(event.id, config)
        if not config.raw:
            body = envelope(notification, config.topic_arn, now)
    timestamp = str(now // 1000)
    headers |= {
        "User-Agent": USER_AGENT,
        "X-Relay-Event-Id": event.id,
        "X-Relay-Event-Type": event.type,
        "X-Relay-Timestamp": timestamp,
    }
    if config.secrets:
        headers["X-Relay-Signature"] = signature(config.secrets, timestamp, body)
    if config.username:
        login = f"{config.username}:{config.password}".encode()
        headers["Authorization"] = f"Basic {b64encode(login).decode()}"
    return headers, body


def sns_headers(event_id: str, config: SnsEndpoint) -> dict[str, str]:
    """What SNS says beside its body."""
    headers = {
        "Content-Type": "text/plain; charset=UTF-8",
        "x-amz-sns-message-type": "Notification",
        "x-amz-sns-message-id": event_id,
        "x-amz-sns-topic-arn": config.topic_arn,
        "x-amz-sns-subscription-arn": f"{config.topic_arn}:relay",
    }
    return headers | {"x-amz-sns-rawdelivery": "true"} if config.raw else headers


def envelope(notification: Notification, topic_arn: str, now: int) -> bytes:
    """SNS's JSON around the event. The fields of its signature are there and empty: it signs with
    a certificate of Amazon's, which nobody else has; `X-Relay-Signature` is what to check."""
    return _encode(
        {
            "Type": "Notification",
            "MessageId": notification.event.id,
            "TopicArn": topic_arn,
            "Subject": "Amazon SES Email Event Notification",
            "Message": notification.content.decode(),
            "Timestamp": iso(now),
            "SignatureVersion": "1",
            "Signature": "",
            "SigningCertURL": "",
            "UnsubscribeURL": "",
        }
    )

"""Webhooks and endpoints of SNS, over real connections."""

import asyncio
import hashlib
import hmac
import json
import socket
import ssl

import pytest

from relay.config.events import SnsEndpoint, Webhook
from relay.events.destinations.http_client import HttpClient
from relay.events.destinations.interface import DestinationError
from relay.events.destinations.webhook import HttpDestination, envelope
from relay.events.patience import Failed, Refused, Told
from tests.events.destinations.web import AUTHORITY, NOW, some, web


@pytest.fixture
def ca(tmp_path):
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def destination(ca):
    """One that is told of a site on loopback, which it may be."""

    def make(site, kind=Webhook, **more):
        word = "sns" if kind is SnsEndpoint else "webhook"
        settings = {
            "type": word,
            "url": f"https://localhost:{site.port}/in?key=1",
            "allow": ["localhost"],
            "ca": ca,
            "timeout": "2s",
        } | more
        return HttpDestination(kind.model_validate(settings), lambda: NOW)

    return make


async def test_an_event_is_posted_as_ses_json_with_its_id_and_type(destination):
    async with web() as site:
        hook = destination(site)
        (event,) = some("Delivery")
        assert await hook.tell([event]) == [Told("200")]
        await hook.close()
    (request,) = site.requests
    assert request.line == "POST /in?key=1 HTTP/1.1"
    assert json.loads(request.body)["eventType"] == "Delivery"
    assert request.headers["host"] == f"localhost:{site.port}"
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["x-relay-event-id"] == event.event.id
    assert request.headers["x-relay-event-type"] == "Delivery"
    assert request.headers["user-agent"].startswith("relay/")
    assert "x-relay-signature" not in request.headers


async def test_a_request_is_signed_with_each_secret_over_its_time_and_body(destination):
    async with web() as site:
        hook = destination(site, secrets=["the new secret", "the old secret"])
        await hook.tell(some())
        await hook.close()
    (request,) = site.requests
    stamp = request.headers["x-relay-timestamp"]
    assert stamp == str(NOW // 1000)
    signed = stamp.encode() + b"." + request.body
    assert request.headers["x-relay-signature"].split(",") == [
        "v1=" + hmac.new(secret, signed, hashlib.sha256).hexdigest()
        for secret in (b"the new secret", b"the old secret")
    ]


async def test_a_login_goes_along_as_basic(destination):
    async with web() as site:
        hook = destination(site, username="me", password="sesame")
        await hook.tell(some())
        await hook.close()
    assert site.requests[0].headers["authorization"] == "Basic bWU6c2VzYW1l"


async def test_connections_are_used_again(destination):
    async with web() as site:
        hook = destination(site)
        for _ in range(5):
            assert await hook.tell(some()) == [Told("200")]
        await hook.close()
    assert site.connections == 1


async def test_several_events_are_told_at_a_time(destination):
    async with web() as site:
        hook = destination(site)
        outcomes = await asyncio.gather(*(hook.tell(some()) for _ in range(5)))
        assert outcomes == [[Told("200")]] * 5
        await hook.close()
    assert site.connections == 5


async def test_a_connection_that_was_closed_meanwhile_is_replaced(destination):
    async with web() as site:
        hook = destination(site)
        await hook.tell(some())
        for writer in list(site.open):
            writer.close()
        assert await hook.tell(some()) == [Told("200")]
        await hook.close()
    assert site.connections == 2


async def test_a_connection_that_the_server_closes_at_the_request_is_tried_once_more(destination):
    async with web() as site:
        hook = destination(site)
        await hook.tell(some())
        site.answers = [None, b"HTTP/1.1 204 No Content\r\n\r\n"]
        assert await hook.tell(some()) == [Told("204")]
        await hook.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not speak HTTP: illegal status line"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 100_000, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "did not answer within 2 seconds"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",), "does not speak HTTP"),
    ],
)
async def test_what_is_no_answer_is_trouble(destination, answer, said):
    async with web() as site:
        site.answers = [answer]
        hook = destination(site)
        (outcome,) = await hook.tell(some())
        await hook.close()
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith(said)


async def test_a_receiver_that_is_silent_is_not_waited_for_longer_than_its_timeout(destination):
    async with web() as site:
        site.answers = [30]
        hook = destination(site, timeout="1s")
        assert await hook.tell(some()) == [Failed("did not answer within 1 seconds")]
        await hook.close()


async def test_an_address_that_is_silent_leaves_time_for_the_next(ca):
    async with web() as site:
        with socket.create_server(("127.0.0.9", site.port)):

            async def locate(host, port):
                return ["127.0.0.9", "127.0.0.1"]

            context = ssl.create_default_context(cafile=ca)
            client = HttpClient(f"https://localhost:{site.port}/", locate, context, 3.0)
            assert (await client.post({}, b"{}")).status == 200
            await client.close()


async def test_an_answer_without_end_is_read_no_further_than_needed(destination):
    async with web() as site:
        site.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n" + b"x" * 300_000]
        hook = destination(site)
        assert await hook.tell(some()) == [Told("200")]
        site.say("200 OK")
        await hook.tell(some())
        await hook.close()
    assert site.connections == 2


async def test_what_a_receiver_says_is_told_in_short_and_harmless(destination):
    async with web() as site:
        site.say("400 Bad Request", body=b"no \x1b[31msuch\r\ntag" + b"x" * 5_000)
        hook = destination(site)
        (outcome,) = await hook.tell(some())
        await hook.close()
    assert isinstance(outcome, Refused)
    assert outcome.error.startswith("answered 400: no ?[31msuch tagxxx")
    assert len(outcome.error) < 250


async def test_a_redirect_is_not_followed(destination):
    async with web() as site:
        site.say("302 Found", "Location: https://169.254.169.254/")
        hook = destination(site)
        assert await hook.tell(some()) == [Failed("answered 302 (redirects are not followed)")]
        await hook.close()
    assert len(site.requests) == 1


@pytest.mark.parametrize("value", ["7", "Mon, 21 Sep 2099 14:13:20 GMT"])
async def test_retry_after_is_understood(destination, value):
    async with web() as site:
        site.say("503 Service Unavailable", f"Retry-After: {value}")
        hook = destination(site)
        (outcome,) = await hook.tell(some())
        await hook.close()
    assert outcome.wait == 7 if value == "7" else outcome.wait > 1e9


@pytest.mark.parametrize(
    "value",
    ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +9999999999999"],
)
async def test_a_time_beyond_all_time_does_not_undo_what_was_taken(destination, value):
    async with web() as site:
        site.say("200 OK", f"Retry-After: {value}")
        hook = destination(site)
        (outcome,) = await hook.tell(some())
        await hook.close()
    assert outcome == Told("200")


async def test_a_certificate_of_a_stranger_is_not_believed(destination):
    async with web() as site:
        hook = destination(site, ca=None)
        (outcome,) = await hook.tell(some())
        await hook.close()
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("its certificate is not valid: ")
    assert site.requests == []


async def test_a_certificate_for_another_name_is_not_believed(destination):
    async with web(name="other.test") as site:
        hook = destination(site)
        (outcome,) = await hook.tell(some())
        await hook.close()
    assert "Hostname mismatch" in outcome.error
    assert site.requests == []


async def test_loopback_is_not_told_unless_it_is_allowed(destination):
    async with web() as site:
        hook = destination(site, allow=[])
        (outcome,) = await hook.tell(some())
        await hook.close()
    assert isinstance(outcome, Failed)
    assert "is a loopback address, which is not told unless `allow`" in outcome.error
    assert site.connections == 0


async def test_nobody_listens(destination):
    async with web() as site:
        pass
    hook = destination(site)
    (outcome,) = await hook.tell(some())
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("no connection: ")


async def test_http_without_tls_where_it_is_allowed(destination):
    async with web(tls=False) as site:
        hook = destination(site, url=f"http://localhost:{site.port}/", ca=None)
        assert await hook.tell(some()) == [Told("200")]
        await hook.close()


def test_a_ca_that_is_not_there_is_told(destination, tmp_path):
    class Site:
        port = 1

    with pytest.raises(DestinationError, match=r"ca .*none.pem cannot be used"):
        destination(Site, ca=tmp_path / "none.pem")


async def test_sns_has_its_envelope_and_headers(destination):
    async with web() as site:
        topic = "arn:aws:sns:eu-west-1:123456789012:mail"
        hook = destination(site, SnsEndpoint, topic_arn=topic)
        (event,) = some("Bounce")
        assert await hook.tell([event]) == [Told("200")]
        await hook.close()
    (request,) = site.requests
    said = json.loads(request.body)
    assert (said["Type"], said["TopicArn"], said["MessageId"]) == (
        "Notification",
        topic,
        event.event.id,
    )
    assert json.loads(said["Message"])["bounce"]["bounceType"] == "Permanent"
    assert said["Timestamp"] == "2026-09-21T14:13:20.123Z"
    assert request.headers["x-amz-sns-message-type"] == "Notification"
    assert request.headers["x-amz-sns-topic-arn"] == topic
    assert request.headers["content-type"] == "text/plain; charset=UTF-8"
    assert "x-amz-sns-rawdelivery" not in request.headers


async def test_raw_delivery_of_sns_is_the_event_alone(destination):
    async with web() as site:
        hook = destination(site, SnsEndpoint, raw=True)
        await hook.tell(some("Send"))
        await hook.close()
    assert json.loads(site.requests[0].body)["eventType"] == "Send"
    assert site.requests[0].headers["x-amz-sns-rawdelivery"] == "true"


def test_the_envelope_has_every_field_that_consumers_read():
    said = json.loads(envelope(some()[0], "arn:aws:sns:x:1:t", NOW))
    assert set(said) >= {
        "Type", "MessageId", "TopicArn", "Message", "Timestamp",
        "SignatureVersion", "Signature", "SigningCertURL", "UnsubscribeURL",
    }  # fmt: skip

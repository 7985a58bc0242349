"""Published consumers of SES's events, for tests: django-anymail and django-ses, each through its
own web hook, as they come.

They are given requests as an SNS endpoint of the relay makes them: header fields and a body.
"""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import django
from django.conf import settings
from django.test import RequestFactory

USERNAME, PASSWORD = "consumer", "a password between the two"

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ANYMAIL={"WEBHOOK_SECRET": f"{USERNAME}:{PASSWORD}"},
        AWS_SES_VERIFY_EVENT_SIGNATURES=False,
        LOGGING_CONFIG=None,
        SECRET_KEY="of a test",
        USE_TZ=True,
    )
    django.setup()

# They look at the settings when they are imported.
from anymail.signals import tracking  # noqa: E402
from anymail.webhooks.amazon_ses import AmazonSESTrackingWebhookView  # noqa: E402
from django_ses import signals  # noqa: E402
from django_ses.views import SESEventWebhookView  # noqa: E402

SnsRequest = tuple[dict[str, str], bytes]


def read_by_anymail(requests: Iterable[SnsRequest]) -> list[Any]:
    """The tracking events that django-anymail makes of requests."""
    heard: list[Any] = []

    def listen(sender: Any, event: Any, esp_name: str, **_: Any) -> None:
        heard.append(event)

    tracking.connect(listen)
    try:
        _post(AmazonSESTrackingWebhookView.as_view(), requests)
    finally:
        tracking.disconnect(listen)
    return heard


def read_by_django_ses(requests: Iterable[SnsRequest]) -> list[Any]:
    """What django-ses signals: the message, and the object that SES documents for the event."""
    heard: list[Any] = []

    def listen(sender: Any, mail_obj: Any, raw_message: bytes, **objects: Any) -> None:
        heard.append(SimpleNamespace(mail=mail_obj, **objects))

    all_of_them = (
        signals.bounce_received,
        signals.complaint_received,
        signals.delivery_received,
        signals.send_received,
    )
    for signal in all_of_them:
        signal.connect(listen)
    try:
        _post(SESEventWebhookView.as_view(), requests)
    finally:
        for signal in all_of_them:
            signal.disconnect(listen)
    return heard


def _post(view: Any, requests: Iterable[SnsRequest]) -> None:
    for headers, body in requests:
        content_type = headers["Content-Type"]
        others = {name: value for name, value in headers.items() if name != "Content-Type"}
        request = RequestFactory().post("/", body, content_type=content_type, headers=others)
        status = view(request).status_code
        assert status == 200, status

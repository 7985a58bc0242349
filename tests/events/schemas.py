"""Validates events against the schemas of SES's records, which stand in `schemas/`.

They are written from the fields that SES documents, and not from what the relay writes; nothing is
allowed beside them but `eventId`. `SendingPaused` and `SendingResumed` are the relay's own.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

_FOLDER = Path(__file__).parent / "schemas"
_FILES = {
    "Send": "send",
    "Reject": "reject",
    "Bounce": "bounce",
    "Complaint": "complaint",
    "Delivery": "delivery",
    "DeliveryDelay": "delivery_delay",
    "SendingPaused": "sending_paused",
    "SendingResumed": "sending_resumed",
}


def valid(rendered: bytes | str) -> dict[str, Any]:
    """The event that was rendered, if it is as SES's are. `ValidationError` says what is not."""
    event: dict[str, Any] = json.loads(rendered)
    _validator(event["eventType"]).validate(event)
    return event


@cache
def _validator(event_type: str) -> Draft202012Validator:
    return Draft202012Validator(_schema(_FILES[event_type]), registry=_shared())


@cache
def _shared() -> Registry[Any]:
    return Registry().with_resource("mail.json", Resource.from_contents(_schema("mail")))


def _schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text())
    Draft202012Validator.check_schema(found)
    return found

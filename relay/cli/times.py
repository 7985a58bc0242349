"""Times as options of commands give them."""

import re
from datetime import UTC, datetime

from relay.cli.failures import USAGE, CommandFailed
from relay.config.units import parse_duration

_AGO = re.compile(r"\d[\d.,]*\s*[a-z]", re.IGNORECASE)


def parse_time(option: str, text: str, now: int) -> int:
    """A day or a time in ISO 8601 (UTC where it says no other), or how long ago, as UTC
    milliseconds. `option` is for the message of `CommandFailed`."""
    if _AGO.search(text) and "-" not in text:
        try:
            return now - round(parse_duration(text) * 1000)
        except ValueError as error:
            raise CommandFailed(f"{option} {text!r}: {error}", USAGE) from None
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(
            f"{option} {text!r}: allowed is a day or a time as 2026-11-24T19:42 (UTC), or how long"
            " ago, as 2h",
            USAGE,
        ) from None
    return round((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1000)

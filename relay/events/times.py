"""Times as events write them: ISO 8601 in UTC with milliseconds."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999  # the years 1 and 9999


def iso(at: int) -> str:
    """UTC milliseconds as `2026-11-24T09:15:02.118Z`. What lies beyond the years 1 to 9999 is
    their first or last moment: a report may name any time, and is told all the same."""
    moment = _EPOCH + timedelta(milliseconds=min(max(at, _FIRST), _LAST))
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"

"""Times as events write them: ISO 8601 in UTC with milliseconds."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(at: int) -> str:
    """UTC milliseconds as `2026-11-24T09:15:02.118Z`. Raises `OverflowError` beyond year 9999."""
    return f"{(_EPOCH + timedelta(milliseconds=at)).isoformat(timespec='milliseconds')[:-6]}Z"

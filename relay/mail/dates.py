"""Dates in header fields (RFC 5322 §3.3), always in UTC and never by locale."""

import time
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def format_date(at_ms: int) -> str:
    """`Tue, 03 Nov 2026 09:05:01 +0000` for UTC milliseconds since the epoch."""
    return _date_of(at_ms // 1000)


@lru_cache(maxsize=8)
def _date_of(seconds: int) -> str:
    when = time.gmtime(seconds)
    return (
        f"{_DAYS[when.tm_wday]}, {when.tm_mday:02} {_MONTHS[when.tm_mon - 1]} {when.tm_year:04} "
        f"{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02} +0000"
    )

"""Rates, sizes and times as people write them: `50/s`, `1,000/h`, `40MB`, `5m`.

Each parser takes what YAML gave (a string or a number) and returns a plain number or a `Rate`;
what it cannot read raises `ValueError` with a sentence that says what is allowed.
"""

import re
from dataclasses import dataclass

_NUMBER = r"(?P<number>\d[\d,_]*(?:\.\d+)?)"
_RATE = re.compile(_NUMBER + r"\s*/\s*(?P<unit>[a-z]+)", re.IGNORECASE)
_SIZE = re.compile(_NUMBER + r"\s*(?P<unit>[a-z]*)", re.IGNORECASE)
_DURATION_PART = re.compile(_NUMBER + r"\s*(?P<unit>[a-z]+)\s*", re.IGNORECASE)

MOST_DAYS = 366
_LARGEST = 10**15  # above it a float no longer counts every whole number

_PERIODS = {
    **dict.fromkeys(("s", "sec", "second"), 1),
    **dict.fromkeys(("m", "min", "minute"), 60),
    **dict.fromkeys(("h", "hr", "hour"), 3600),
    **dict.fromkeys(("d", "day"), 86400),
}
_SIZES = {
    **dict.fromkeys(("", "b"), 1),
    **dict.fromkeys(("kb", "k"), 1000),
    **dict.fromkeys(("mb", "m"), 1000**2),
    **dict.fromkeys(("gb", "g"), 1000**3),
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_DURATIONS = {
    "ms": 0.001,
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many permits in so many seconds; `Rate(50, 1)` is written `50/s`."""

    count: int
    seconds: int

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def __str__(self) -> str:
        unit = {1: "s", 60: "min", 3600: "h", 86400: "day"}.get(self.seconds)
        return f"{self.count:,}/{unit or f'{self.seconds}s'}"


def parse_rate(value: object) -> Rate:
    """`50/s`, `3,000/min`, `1,000/h` or `100000/day`, at least one."""
    if isinstance(value, Rate):
        return value
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    period = _PERIODS.get(match["unit"].lower()) if match else None
    count = _number(match["number"]) if match else 0.0
    if match is None or period is None or count != int(count) or count < 1:
        raise ValueError("allowed is a rate such as 50/s, 3,000/min, 1,000/h or 100000/day")
    return Rate(int(count), period)


def parse_quota(value: object) -> int:
    """A rolling 24-hour quota: `100000/day`, or the plain number."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    try:
        rate = parse_rate(
            f"{value}/day" if str(value).strip().replace(",", "").isdigit() else value
        )
    except ValueError:
        rate = Rate(0, 0)
    if rate.seconds != 86400:
        raise ValueError("allowed is a number of recipients in 24 hours, such as 100000/day")
    return rate.count


def parse_size(value: object) -> int:
    """A size in bytes: `40MB` (millions), `64KiB` (powers of two) or a plain number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    unit = _SIZES.get(match["unit"].lower()) if match else None
    if match is None or unit is None:
        raise ValueError("allowed is a size such as 512KB, 40MB, 64KiB or a number of bytes")
    return int(_number(match["number"]) * unit)


def parse_duration(value: object) -> float:
    """A time in seconds: `300ms`, `30s`, `5m`, `1h30m`, `4d`; a bare number is refused."""
    text = value.strip() if isinstance(value, str) else ""
    parts = list(_DURATION_PART.finditer(text))
    known = all(part["unit"].lower() in _DURATIONS for part in parts)
    if not parts or not known or "".join(part[0] for part in parts) != text:
        raise ValueError("allowed is a time with its unit, such as 500ms, 30s, 5m, 1h30m or 4d")
    return sum(_number(part["number"]) * _DURATIONS[part["unit"].lower()] for part in parts)


def parse_days(value: object) -> int:
    """A number of whole days, `45d`."""
    try:
        seconds = parse_duration(value)
    except ValueError:
        seconds = 0.0
    days, rest = divmod(seconds, 86400)
    if rest or not 2 <= days <= MOST_DAYS:
        raise ValueError(f"allowed is a number of whole days from 2d to {MOST_DAYS}d, such as 45d")
    return int(days)


def _number(text: str) -> float:
    number = float(text.replace(",", "").replace("_", ""))
    if number > _LARGEST:
        raise ValueError(f"allowed is at most {_LARGEST:,}")
    return number

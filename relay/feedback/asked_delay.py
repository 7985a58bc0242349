"""How long a peer asks us to wait, where its text says so: `try again in 300 seconds`.

Pure. Greylisting is the usual reason: trying earlier is in vain and may start the time anew. What
is said is believed within bounds, for anybody can say it.
"""

import re

LEAST, MOST = 10.0, 4 * 3_600.0  # seconds

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0}
_SPAN = re.compile(
    r"\b(?:in|for|after|wait|within|another|least)\s{1,3}(?:approximately |about )?"
    r"(?P<number>\d{1,5})\s{0,2}(?P<unit>s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"\b(?:in|for|after|wait)\s{1,3}(?P<hours>\d{1,2}):(?P<minutes>\d\d):(?P<seconds>\d\d)\b",
    re.IGNORECASE,
)
_RETRY_AFTER = re.compile(
    r"\bretry[-_ ]?after\s{0,2}[:=]\s{0,2}(?P<number>\d{1,5})(?P<unit>s)?\b(?![.:])", re.IGNORECASE
)


def asked_delay(text: str) -> float | None:
    """The seconds that `text` names, from `LEAST` to `MOST`; None where it names none."""
    clock = _CLOCK.search(text)
    if clock is not None:
        hours, minutes, seconds = (int(clock[name]) for name in ("hours", "minutes", "seconds"))
        return _bounded(3_600.0 * hours + 60.0 * minutes + seconds)
    span = _SPAN.search(text) or _RETRY_AFTER.search(text)
    if span is None:
        return None
    return _bounded(int(span["number"]) * _UNITS[(span["unit"] or "s")[0].lower()])


def _bounded(seconds: float) -> float:
    return max(LEAST, min(seconds, MOST))

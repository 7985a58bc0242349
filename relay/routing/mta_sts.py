"""MTA-STS (RFC 8461): the record that announces a policy, the policy, and whether a host fits it.

Pure. What a domain publishes is hostile until it is read: everything is bounded, and whatever is
not well formed is no policy at all (`PolicyError`, RFC 8461 §3.2), never half of one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from relay.config.names import parse_domain

Mode = Literal["enforce", "testing", "none"]

LARGEST = 64 * 1024
"""Octets of a policy (RFC 8461 §3.3 suggests a limit; this is its example)."""

LONGEST_MAX_AGE_S = 31_557_600
"""About a year: the most that a policy may ask for (RFC 8461 §3.2)."""

SHORTEST_MAX_AGE_S = 3600
"""A policy that ends sooner is kept for an hour, so that it is not fetched for each message."""

MOST_MX = 100

_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_FIELD = re.compile(r"[ \t]*([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*=[ \t]*([!-:<-~]+)[ \t]*")
_KEY = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*:[ \t]*([ -~\x80-\U0010ffff]*?)[ \t]*")
_RECORD = re.compile(r"v=STSv1[ \t]*(;|$)")


class PolicyError(ValueError):
    """What a domain publishes is no valid policy; the text says why, as a clause."""


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A policy as it was fetched: `mx` are patterns in lower case, `max_age` is seconds.

    `id` is what the record said when it was fetched: another one calls for another fetch.
    """

    domain: str
    id: str
    mode: Mode
    mx: tuple[str, ...] = ()
    max_age: int = SHORTEST_MAX_AGE_S

    @property
    def strings(self) -> tuple[str, ...]:
        """The policy line by line, as TLS reports quote it (RFC 8460 §4.4)."""
        return (
            "version: STSv1",
            f"mode: {self.mode}",
            *(f"mx: {pattern}" for pattern in self.mx),
            f"max_age: {self.max_age}",
        )

    def allows(self, host: str) -> bool:
        """Whether mail for the domain may be handed to the mail host `host`."""
        return any(matches(pattern, host) for pattern in self.mx)


def matches(pattern: str, host: str) -> bool:
    """Whether an `mx` pattern fits a host name (RFC 8461 §4.1): `*.` stands for one label."""
    host = host.lower().rstrip(".")
    if not pattern.startswith("*."):
        return pattern == host
    label, dot, parent = host.partition(".")
    return bool(label and dot) and parent == pattern[2:]


def record_id(texts: Sequence[str]) -> str | None:
    """The `id` of the one STSv1 record among the TXT records of `_mta-sts.DOMAIN`.

    None where there is none, or more than one, or where it cannot be read: that is as if there
    were none (RFC 8461 §3.1).
    """
    records = [text for text in texts if _RECORD.match(text)]
    if len(records) != 1:
        return None
    found = ""
    for field in records[0].split(";")[1:]:
        if not field.strip(" \t"):
            continue
        match = _FIELD.fullmatch(field)
        if match is None:
            return None
        if match[1] == "id":
            if found or not _ID.fullmatch(match[2]):
                return None
            found = match[2]
    return found or None


def parse_policy(domain: str, identifier: str, octets: bytes) -> StsPolicy:
    """The policy that a policy host served for `domain`. Raises `PolicyError`."""
    if len(octets) > LARGEST:
        raise PolicyError(f"it is larger than {LARGEST:,} octets")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise PolicyError("it is not UTF-8") from None
    keys = _keys(text)
    if keys.get("version") != ["STSv1"]:
        raise PolicyError("its version is not STSv1")
    mode = _mode(keys)
    mx = _patterns(keys.get("mx", []))
    if not mx and mode != "none":
        raise PolicyError("it names no mx")
    return StsPolicy(domain, identifier, mode, mx, _max_age(keys))


def _keys(text: str) -> dict[str, list[str]]:
    """The values of each key; of all but `mx` only the first one counts (RFC 8461 §3.2)."""
    found: dict[str, list[str]] = {}
    for number, line in enumerate(re.split(r"\r?\n", text), start=1):
        if not line.strip(" \t"):
            continue
        match = _KEY.fullmatch(line)
        if match is None:
            raise PolicyError(f"its line {number} is no `key: value`")
        values = found.setdefault(match[1], [])
        if match[1] == "mx" or not values:
            values.append(match[2])
        if len(values) > MOST_MX:
            raise PolicyError(f"it names more than {MOST_MX} mx")
    return found


def _mode(keys: dict[str, list[str]]) -> Mode:
    match keys.get("mode"):
        case ["enforce"]:
            return "enforce"
        case ["testing"]:
            return "testing"
        case ["none"]:
            return "none"
    raise PolicyError("its mode is not enforce, testing or none")


def _patterns(written: Sequence[str]) -> tuple[str, ...]:
    """Each a host name, or `*.` and a domain; in normal form."""
    patterns = []
    for text in written:
        wild = text.startswith("*.")
        try:
            name = parse_domain(text.removeprefix("*.").rstrip("."))
        except ValueError:
            raise PolicyError("one of its mx is no host name") from None
        patterns.append(f"*.{name}" if wild else name)
    return tuple(dict.fromkeys(patterns))


def _max_age(keys: dict[str, list[str]]) -> int:
    (text,) = keys.get("max_age", [""])
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise PolicyError("its max_age is no number of seconds")
    return min(max(int(text), SHORTEST_MAX_AGE_S), LONGEST_MAX_AGE_S)

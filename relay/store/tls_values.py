"""What the store keeps of TLS with other relays: policies that domains published, and how it went.

Times are UTC milliseconds since the epoch; a `day` is whole days since it, in UTC.
"""

from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """An MTA-STS policy as a domain published it (RFC 8461). `max_age` is in seconds; `used_at` is
    when mail last asked for it, give or take a day."""

    domain: str
    id: str
    mode: str
    mx: tuple[str, ...]
    max_age: int
    fetched_at: int
    used_at: int

    @property
    def ends_at(self) -> int:
        return self.fetched_at + self.max_age * 1000


@dataclass(frozen=True, slots=True)
class TlsOutcome:
    """How a session with a mail host of `domain` went: what is counted together (RFC 8460 §4.3).

    `policy` has the strings of the policy. `result` is empty where all went well (then so are the
    fields below it), else the type of the failure; `detail` is a short reason in our words.
    """

    domain: str
    policy_type: str
    policy_domain: str
    policy: tuple[str, ...] = ()
    result: str = ""
    detail: str = ""
    source: str = ""
    host: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class TlsTally:
    """So many sessions went that way."""

    outcome: TlsOutcome
    sessions: int


@dataclass(frozen=True, slots=True)
class TlsDay:
    """One domain on one day, summed up. `report` is what became of its report, empty while it was
    not looked at."""

    day: int
    domain: str
    successes: int
    failures: int
    report: str = ""

"""How outcomes are settled, per configuration set: small frozen values made from the configuration.

Pure. Mail of a set that is no longer configured is settled by the defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from relay.config.identities import find_identity
from relay.config.model import Config, ConfigurationSet
from relay.config.suppression import (
    ObservedReason,
    SuppressionReason,
    reasons_added,
    reasons_checked,
)
from relay.feedback.classify import Classifier

DELAY_NOTICE_MS = 3_600_000
"""After so long without delivery whoever asked with NOTIFY=DELAY is told, once."""

_DEFAULT_SET = ConfigurationSet(pool="-")


@dataclass(frozen=True, slots=True)
class Policy:
    """What settling needs to know; times in milliseconds.

    `retry` are the intervals after the first, second, … attempt; the last one repeats. `jitter` is
    the share of an interval by which it varies, plus or minus. `suppresses` are the outcomes that
    enter the suppression list; there a bounce lasts as long as the first of `bounces_last`, and
    with each further one twice as long, up to the second (None: for good). `report_set` is the
    configuration set through which reports to the sender go.
    """

    hostname: str
    retry: tuple[int, ...]
    jitter: float
    suppresses: tuple[ObservedReason, ...]
    bounces_last: tuple[int, int] | None
    report_lifetime: int
    report_identity: str
    report_suppression: tuple[SuppressionReason, ...]
    report_set: str

    def interval(self, attempts: int) -> int:
        """The time to wait after attempt number `attempts` + 1, without jitter."""
        return self.retry[min(attempts, len(self.retry) - 1)]

    def tells_of_delay(self, attempts: int) -> bool:
        """Whether the wait after this attempt is the one that passes `DELAY_NOTICE_MS`.

        Counted in attempts, which only ever go up by one, so that exactly one wait passes it.
        """
        waited = list(accumulate(self.interval(n) for n in range(min(attempts, 1_000) + 1)))
        before = waited[-2] if len(waited) > 1 else 0
        return before < DELAY_NOTICE_MS <= waited[-1]


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of a configuration, and the rules by which it understands replies."""

    by_set: Mapping[str, Policy]
    default: Policy
    classifier: Classifier

    @classmethod
    def of(cls, config: Config) -> "Policies":
        return cls(
            {
                name: _policy(config, name, chosen)
                for name, chosen in config.configuration_sets.items()
            },
            _policy(config, _remaining_set(config), _DEFAULT_SET),
            Classifier.of(config.bounces),
        )

    def of_set(self, name: str) -> Policy:
        """The policy of a configuration set, or the default where it is no longer configured."""
        return self.by_set.get(name, self.default)


def _remaining_set(config: Config) -> str:
    """The set through which reports go whose message's own set is no longer configured: there
    must be a pool to send them from."""
    return config.default_configuration_set or next(iter(config.configuration_sets))


def _policy(config: Config, name: str, configuration_set: ConfigurationSet) -> Policy:
    suppression = config.suppression
    expire = suppression.expire
    sender = f"mailer-daemon@{config.hostname}"
    schedule = config.retry.schedule or (300.0,)
    return Policy(
        hostname=config.hostname,
        retry=tuple(max(1_000, round(seconds * 1000)) for seconds in schedule),
        jitter=config.retry.jitter,
        suppresses=reasons_added(configuration_set.suppression, suppression),
        bounces_last=(
            None if expire is None else (round(expire.first * 1000), round(expire.most * 1000))
        ),
        report_lifetime=round(configuration_set.max_age * 1000),
        report_identity=find_identity(config.identities, sender) or "",
        report_suppression=reasons_checked(configuration_set.suppression, suppression),
        report_set=name,
    )

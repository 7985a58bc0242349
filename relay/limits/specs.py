"""What is limited, and how: the limits of a configuration, by key.

A key is a level and a name: `account:account`, `credential:NAME` (acceptance), `set:NAME`,
`pool:NAME`, `source:ADDRESS` (delivery).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from relay.config.model import Config, ConfigurationSet, Pool, Sending, Source
from relay.config.units import Rate

ACCOUNT = "account:account"


@dataclass(frozen=True, slots=True)
class Limit:
    """The limits of one key; None where there is none.

    `rate` counts recipients in `rate.seconds`; `strict` holds it in every sliding window, else a
    burst of one second's worth is let through. `quota` counts recipients in a rolling 24 hours.
    """

    rate: Rate | None = None
    quota: int | None = None
    strict: bool = True


def credential_key(name: str) -> str:
    return f"credential:{name}"


def delivery_keys(configuration_set: str, pool: str, source: str) -> tuple[str, str, str]:
    """The keys that one delivery attempt is charged to; `source` is an address as text."""
    return f"set:{configuration_set}", f"pool:{pool}", f"source:{source}"


def config_limits(config: Config) -> dict[str, Limit]:
    """Every limit of a configuration; keys without any are left out.

    A source address that several pools share has one limit, the lowest of theirs.
    """
    specs = {ACCOUNT: _limit(config.account, strict=False)}
    for name, credential in config.credentials.items():
        specs[credential_key(name)] = _limit(credential, strict=False)
    for name, configuration_set in config.configuration_sets.items():
        specs[f"set:{name}"] = _limit(configuration_set, strict=True)
    for name, pool in config.pools.items():
        specs[f"pool:{name}"] = _limit(pool, strict=True)
        for source in pool.sources:
            key = f"source:{source.address}"
            specs[key] = _lower(specs.get(key), _limit(source, strict=True))
    return {key: limit for key, limit in specs.items() if limit.rate or limit.quota}


def _limit(section: Sending | ConfigurationSet | Pool | Source, *, strict: bool) -> Limit:
    return Limit(section.rate, section.quota, strict)


def _lower(known: Limit | None, limit: Limit) -> Limit:
    if known is None:
        return limit
    rates = [rate for rate in (known.rate, limit.rate) if rate]
    quotas = [quota for quota in (known.quota, limit.quota) if quota]
    return Limit(
        min(rates, key=lambda rate: rate.per_second, default=None),
        min(quotas, default=None),
        limit.strict,
    )


def describe(limits: Mapping[str, Limit], key: str, kind: str) -> str:
    """A limit in a sentence: `The rate of credential app is 5/s.`"""
    level, _, name = key.partition(":")
    limit = limits.get(key, Limit())
    owner = "the account" if key == ACCOUNT else f"{level} {name}"
    if kind == "rate":
        return f"The rate of {owner} is {limit.rate}."
    return f"The quota of {owner} is {limit.quota or 0:,} in 24 hours."

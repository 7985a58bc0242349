"""What is limited, and how: the limits of a configuration, by key.

A key is a level and a name: `account:account`, `credential:NAME` (acceptance), `set:NAME`,
`pool:NAME`, `source:ADDRESS` (delivery). Of what a source sends to a line (a provider's name, or a
site's) the name is both: `path:ADDRESS/LINE` has the rate of recipients and the quota,
`path:ADDRESS/LINE#SECONDS` each further rate, `connect:ADDRESS/LINE` the rate of connections. There
is no end of lines, so these limits are made when they are asked for.

`rate:KEY` is the rate of a key without its quota, spent together with what is charged to the key
itself: there is mail that counts in no quota.

Limits that come and go at run time have keys of their own: `temper:ADDRESS/LINE` is a slow-down,
`warmup:ADDRESS` and `warmup:ADDRESS/PROVIDER` are what an address may send that is warming up.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from relay.config.model import Config, ConfigurationSet, Pool, Sending, Source
from relay.config.units import Rate
from relay.limits.shapes import Shape, Shapes

ACCOUNT = "account:account"
LEVELS_OF_LINES = ("path", "connect", "temper")
_RATE = "rate:"


@dataclass(frozen=True, slots=True)
class Limit:
    """The limits of one key; None where there is none.

    `rate` counts recipients in `rate.seconds`; `strict` holds it in every sliding window, else a
    burst of one second's worth is let through. `quota` counts recipients in a rolling 24 hours.
    """

    rate: Rate | None = None
    quota: int | None = None
    strict: bool = True


class Specs(Mapping[str, Limit]):
    """All limits of a configuration. It iterates over those that the configuration names;
    `get` and `[]` answer for those of sources to lines too."""

    def __init__(self, named: Mapping[str, Limit], shapes: Shapes) -> None:
        self._named = named
        self._shapes = shapes

    def with_also(self, limits: Mapping[str, Limit]) -> "Specs":
        """These, and `limits` besides."""
        return Specs({**self._named, **limits}, self._shapes)

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def __getitem__(self, key: str) -> Limit:
        limit = self._named.get(key) or self._rate_of(key) or self._of_line(key)
        if limit is None:
            raise KeyError(key)
        return limit

    def _rate_of(self, key: str) -> Limit | None:
        limit = self._named.get(counted_key(key)) if key.startswith(_RATE) else None
        return limit and rate_alone(limit)

    def _of_line(self, key: str) -> Limit | None:
        level, _, name = key.partition(":")
        if level not in ("path", "connect"):
            return None
        source, _, line = name.partition("/")
        line, _, window = line.partition("#")
        shape = self._shapes.of(source, line)
        if level == "connect":
            return Limit(shape.connection_rate) if shape.connection_rate else None
        if window:
            return next((Limit(r) for r in shape.rates if str(r.seconds) == window), None)
        rate = shape.rates[0] if shape.rates else None
        return Limit(rate, shape.quota) if rate or shape.quota else None


def credential_key(name: str) -> str:
    return f"credential:{name}"


def rate_key(key: str) -> str:
    """The key of a named key's rate alone."""
    return _RATE + key


def rate_alone(limit: Limit) -> Limit | None:
    """The limit of a rate's key; None where there is no rate."""
    return Limit(limit.rate, None, limit.strict) if limit.rate else None


def counted_key(key: str) -> str:
    """The key that people know: itself, or the one whose rate it is."""
    return key.removeprefix(_RATE)


def delivery_keys(configuration_set: str, pool: str, source: str) -> tuple[str, str, str]:
    """The keys that one delivery attempt is charged to, wherever it goes; `source` is an address
    as text."""
    return f"set:{configuration_set}", f"pool:{pool}", f"source:{source}"


def line_key(source: str, line: str) -> str:
    """The name of a source and a line together, in keys and for connections."""
    return f"{source}/{line}"


def path_keys(shape: Shape, source: str, line: str) -> tuple[str, ...]:
    """The keys that one delivery attempt from `source` to `line` is charged to besides; only those
    that have a limit."""
    key = f"path:{source}/{line}"
    first = (key,) if shape.rates or shape.quota else ()
    return first + tuple(f"{key}#{rate.seconds}" for rate in shape.rates[1:])


def connect_key(source: str, line: str) -> str:
    """The key that a connection from `source` to `line` is charged to."""
    return f"connect:{source}/{line}"


def temper_key(source: str, line: str) -> str:
    """The key of a slow-down of what `source` sends to `line`."""
    return f"temper:{source}/{line}"


def metric_name(key: str) -> tuple[str, str]:
    """Level and name of a key as metrics have them, of a bounded set: all lines that are no named
    provider's are `other`."""
    level, _, name = key.partition(":")
    if level not in LEVELS_OF_LINES:
        return level, name
    source, _, line = name.partition("/")
    line = line.partition("#")[0]
    # A site's name has one of these in it, and a provider's name none.
    return level, line_key(source, "other" if any(sign in line for sign in ".:[") else line)


def config_limits(config: Config) -> Specs:
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
    named = {key: limit for key, limit in specs.items() if limit.rate or limit.quota}
    return Specs(named, Shapes(config))


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
    key = counted_key(key)
    level, _, name = key.partition(":")
    limit = limits.get(key, Limit())
    owner = "the account" if key == ACCOUNT else f"{level} {name}"
    if kind == "rate":
        return f"The rate of {owner} is {limit.rate}."
    return f"The quota of {owner} is {limit.quota or 0:,} in 24 hours."

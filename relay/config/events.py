"""The sections `events`: destinations that are told what becomes of mail, by name.

`configuration_sets.NAME.events` lists the destinations of a set's mail. What a kind of destination
does is in `relay.events.destinations`.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from relay.config.names import parse_network
from relay.config.paths import FilePath
from relay.config.section import Section
from relay.config.units import parse_duration, parse_size

EventWord = Literal[
    "send",
    "reject",
    "delivery",
    "delivery_delay",
    "bounce",
    "complaint",
    "sending_paused",
    "sending_resumed",
]
USUAL_EVENTS: tuple[EventWord, ...] = (
    "send",
    "reject",
    "delivery",
    "delivery_delay",
    "bounce",
    "complaint",
)
"""What SES has, as far as the relay makes it."""

_LATER = frozenset({"open", "click", "subscription", "rendering_failure"})
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.IGNORECASE)
_SUBJECT = re.compile(r"(?:[A-Za-z0-9_.-]|\{type\}|\{configuration_set\})+")
_MOST_DAYS = 14


def _word(value: object) -> object:
    if isinstance(value, str) and value in _LATER:
        raise ValueError(f"allowed is {', '.join(get_args(EventWord))}; {value} comes later")
    return value


def _span(least: float, most: float, words: str) -> BeforeValidator:
    def read(value: object) -> float:
        seconds = parse_duration(value)
        if not least <= seconds <= most:
            raise ValueError(f"allowed is a time from {words}")
        return seconds

    return BeforeValidator(read)


def _rotate(value: object) -> int:
    size = parse_size(value)
    if size < 1_000_000:
        raise ValueError("allowed is a size of 1MB or more")
    return size


AllowedHost = IPv4Network | IPv6Network | str
"""A network, or the name of a host in lower case."""


def _allowed_host(value: object) -> AllowedHost:
    try:
        return parse_network(value)
    except ValueError:
        pass
    if not isinstance(value, str) or not _HOST.fullmatch(value) or value.rstrip(".")[-1].isdigit():
        raise ValueError("allowed is a network such as 10.0.0.0/8, an address, or a host's name")
    return value.lower().rstrip(".")


def _topic(value: str) -> str:
    if not re.fullmatch(r"arn:aws[a-z-]*:sns:[a-z0-9-]*:[0-9]*:[A-Za-z0-9_-]{1,256}", value):
        raise ValueError("allowed is a name such as arn:aws:sns:us-east-1:123456789012:my-topic")
    return value


def _subject(value: str) -> str:
    if not _SUBJECT.fullmatch(value) or any(not part for part in value.split(".")):
        raise ValueError(
            "allowed is words with dots between them, as relay.events.{configuration_set}.{type}"
        )
    return value


def _broker(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("allowed is host:port, as kafka.example.com:9092")
    return value


def _kafka_topic(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", value):
        raise ValueError("allowed is letters, digits, dots, - and _, at most 249 of them")
    return value


def _label(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", value):
        raise ValueError("allowed is a letter, then letters, digits and _, at most 64 of them")
    return value


def _nats_server(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.username or parts.path:
        raise ValueError("allowed is nats://host:4222, or tls://host:4222; logins have their keys")
    return value


Events = Annotated[
    tuple[Annotated[EventWord, BeforeValidator(_word)], ...],
    Field(min_length=1, max_length=len(get_args(EventWord))),
]
Switch = Annotated[bool, Field(strict=True)]
Secret = Annotated[str, Field(min_length=8, max_length=512)]
Label = Annotated[str, Field(max_length=64)]


class _Destination(Section):
    """What every destination has."""

    events: Events = Field(USUAL_EVENTS, description="types that it is told; default: SES's")
    enabled: Switch = Field(True, description="false: it waits, and its events with it")
    give_up_after: Annotated[float, _span(60, _MOST_DAYS * 86_400, "1m to 14d")] = Field(
        259_200.0, description="an event that could not be told by then becomes a dead letter"
    )
    backlog: int = Field(
        1_000_000, ge=1_000, le=100_000_000, description="events that wait; the oldest are dropped"
    )
    dead_letters: int = Field(10_000, ge=1, le=1_000_000, description="that are kept")


class _Http(_Destination):
    """A place on the web. `allow` names hosts and networks that are not public."""

    allow: tuple[Annotated[AllowedHost, BeforeValidator(_allowed_host)], ...] = Field(
        (), max_length=100, description="hosts or networks that are not public and may be told"
    )
    url: Annotated[str, Field(max_length=2_000)]
    secrets: tuple[Secret, ...] = Field(
        (), repr=False, max_length=2, description="keys of the signature; two while one replaces it"
    )
    username: Annotated[str, Field(max_length=256)] = Field(
        "", description="HTTP Basic, with password"
    )
    password: Annotated[str, Field(max_length=512)] = Field("", repr=False)
    ca: FilePath | None = Field(
        None, description="PEM of the authorities that are believed, instead of the system's"
    )
    timeout: Annotated[float, _span(1, 60, "1s to 60s")] = Field(
        10.0, description="for one request, with its answer"
    )
    concurrency: int = Field(10, ge=1, le=100, description="requests at a time")

    @field_validator("url")
    @classmethod
    def _reachable(cls, url: str, info: ValidationInfo) -> str:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
            (host or "").encode("idna")
        except ValueError:
            host = None
        if not host or parts.scheme not in ("https", "http") or not url.isascii() or " " in url:
            raise ValueError("allowed is an address such as https://hooks.example.com/relay")
        if parts.username is not None or parts.fragment:
            raise ValueError("allowed is an address without login and #; use username and password")
        if "allow" not in info.data:
            return url  # what is wrong with it is told by itself
        named = [entry for entry in info.data["allow"] if isinstance(entry, str)]
        networks = [entry for entry in info.data["allow"] if not isinstance(entry, str)]
        if parts.scheme == "http" and host not in named and not _within(host, networks):
            raise ValueError(
                f"allowed is https; http only where `allow` has {host}, for anybody on the way"
                " could read and change what is told"
            )
        return url


def _within(host: str, networks: list[IPv4Network | IPv6Network]) -> bool:
    try:
        address = parse_network(host)
    except ValueError:
        return False
    return any(
        address.network_address in network
        for network in networks
        if network.version == address.version
    )


class Webhook(_Http):
    """An HTTP request for each event, its body SES's JSON."""

    type: Literal["webhook"]


class SnsEndpoint(_Http):
    """The same as Amazon SNS delivers it to a subscribed endpoint."""

    type: Literal["sns"]
    topic_arn: Annotated[str, AfterValidator(_topic)] = Field(
        "arn:aws:sns:us-east-1:000000000000:relay", description="as consumers expect it"
    )
    raw: Switch = Field(False, description="raw message delivery: the event without its envelope")


class EventFile(_Destination):
    """JSON lines in a file that is rotated by size."""

    type: Literal["file"]
    path: FilePath
    rotate: Annotated[int, BeforeValidator(_rotate)] = Field(
        100_000_000, description="size at which a new file begins"
    )
    keep: int = Field(10, ge=0, le=1_000, description="older files, as NAME.1")


class Dimension(Section):
    """A label of the counters, as a dimension of SES's CloudWatch destination."""

    name: Annotated[str, AfterValidator(_label)]
    source: Literal["tag", "header"] = "tag"
    key: Annotated[str, Field(max_length=256)] = Field(
        "", description="name of the tag or header field; default: name"
    )
    default: Label = Field("none", description="where the message has none")


class PrometheusCounters(_Destination):
    """Counters in the relay's metrics."""

    type: Literal["prometheus"]
    dimensions: tuple[Dimension, ...] = Field((), max_length=10)
    most_values: int = Field(
        100, ge=1, le=10_000, description="values of each dimension; further ones count as other"
    )

    @field_validator("dimensions")
    @classmethod
    def _each_once(cls, dimensions: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
        names = [dimension.name for dimension in dimensions]
        if len({*names, "destination", "type"}) != len(names) + 2:
            raise ValueError("allowed is each name once, and neither destination nor type")
        return dimensions


class NatsStream(_Destination):
    """A JetStream of NATS. The stream that takes the subject exists already."""

    type: Literal["nats"]
    servers: tuple[Annotated[str, AfterValidator(_nats_server)], ...] = Field(
        min_length=1, max_length=10
    )
    subject: Annotated[str, Field(max_length=256), AfterValidator(_subject)] = Field(
        "relay.events.{type}", description="{type} and {configuration_set} are put in"
    )
    username: Annotated[str, Field(max_length=256)] = ""
    password: Annotated[str, Field(max_length=512)] = Field("", repr=False)
    token: Annotated[str, Field(max_length=512)] = Field("", repr=False)
    credentials: FilePath | None = Field(None, description="a .creds file")
    ca: FilePath | None = None
    timeout: Annotated[float, _span(1, 60, "1s to 60s")] = 10.0


class KafkaTopic(_Destination):
    """A topic of Kafka; the key of a record is the id of the message."""

    type: Literal["kafka"]
    brokers: tuple[Annotated[str, AfterValidator(_broker)], ...] = Field(
        min_length=1, max_length=20
    )
    topic: Annotated[str, AfterValidator(_kafka_topic)]
    tls: Switch = True
    ca: FilePath | None = None
    mechanism: Literal["plain", "scram-sha-256", "scram-sha-512"] = "scram-sha-512"
    username: Annotated[str, Field(max_length=256)] = Field("", description="empty: no SASL")
    password: Annotated[str, Field(max_length=512)] = Field("", repr=False)
    timeout: Annotated[float, _span(1, 60, "1s to 60s")] = 10.0


EventDestination = Annotated[
    Webhook | SnsEndpoint | EventFile | PrometheusCounters | NatsStream | KafkaTopic,
    Field(discriminator="type"),
]
EventDestinations = Mapping[str, EventDestination]

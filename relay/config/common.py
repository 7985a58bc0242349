"""What the relays of a fleet must have in common, and where two of them differ.

Each section is told by a short digest of its values that are not the defaults: so a release that
adds a key does not make nodes differ while they are upgraded one by one, and nothing of a secret
can be read. Pure.
"""

import hashlib
import json

from relay.config.model import Config

OWN = frozenset(
    {
        "hostname",
        "data_dir",
        "tls",
        "listeners",
        "returns",
        "metrics",
        "logging",
        "workers",
        "store",
        "fleet",
        "simulator",
        "shutdown",
    }
)
"""The sections that are each node's own: where it is, what it listens on, how it is watched."""

_DIGITS = 8


def digest_of(config: Config) -> str:
    """The common sections, each as `name=digest`, with a space between. Of a file its name counts,
    not the directory that a node has it in."""
    shared = config.model_dump(
        mode="json", exclude=set(OWN), exclude_defaults=True, context={"names_only": True}
    )
    return " ".join(f"{name}={_digest(value)}" for name, value in sorted(shared.items()))


def differing(one: str, other: str) -> tuple[str, ...]:
    """The names of the sections in which two digests differ, in order."""
    ours, theirs = _parts(one), _parts(other)
    return tuple(
        name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)
    )


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _parts(digest: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in digest.split())

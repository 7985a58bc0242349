"""Which identity an address belongs to, and which DKIM keys that identity signs with.

Pure look-ups on names in the form that `relay.config.names.parse_identity` gives. An address is
in the form that `relay.mail.address` gives; case does not matter here.
"""

from collections.abc import Iterator, Mapping

from relay.config.model import DkimKey, Identity
from relay.mail.address import suppression_key


def find_identity(identities: Mapping[str, object], address: str) -> str | None:
    """The most specific identity that covers `address`, or None.

    In order: the address itself, the address without its `+label`, its domain, and the domain's
    parents from the nearest up, as SES has it.
    """
    return next((name for name in _candidates(address) if name in identities), None)


def dkim_keys_for(
    identities: Mapping[str, Identity], identity_name: str, address: str
) -> tuple[str, tuple[DkimKey, ...]]:
    """The signing domain (`d=`) and the keys for mail of an identity.

    An identity without keys signs with those of the nearest one above it that has some: an
    address with its domain's, a domain with its parent's. `address` stands in for an identity
    that the configuration does not know. Without any key the domain is `""`.
    """
    start = identity_name if identity_name in identities else address
    for name in _candidates(start):
        identity = identities.get(name)
        if identity is not None and identity.dkim:
            return name.rpartition("@")[2], identity.dkim
    return "", ()


def mail_from_for(identities: Mapping[str, Identity], identity_name: str) -> str:
    """The MAIL FROM domain of an identity, or of the nearest one above it that has one; `""`
    without any."""
    for name in _candidates(identity_name):
        identity = identities.get(name)
        if identity is not None and identity.mail_from:
            return identity.mail_from
    return ""


def _candidates(name: str) -> Iterator[str]:
    """What may cover an address or a domain, most specific first."""
    key = suppression_key(name)
    local, at, domain = key.rpartition("@")
    if at:
        yield key
        base, plus, _ = local.partition("+")
        if plus and base and not local.startswith('"'):
            yield f"{base}@{domain}"
    while domain:
        yield domain
        domain = domain.partition(".")[2]

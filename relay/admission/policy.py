"""A configuration as admission asks it: everything that does not depend on a message, worked out
once when the configuration comes into force."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from relay.config.identities import find_identity
from relay.config.model import Config, ConfigurationSet, Credential, Identity
from relay.limits.specs import ACCOUNT, Limit, config_limits, credential_key


@dataclass(frozen=True, slots=True)
class CredentialPolicy:
    """What one credential may do. None for `identities` and `sets` means all.

    `charged` are the limits its mail counts against; `may_queue` those of them that delay mail
    where the others refuse it.
    """

    name: str
    enabled: bool
    identities: Mapping[str, Identity] | None
    sets: frozenset[str] | None
    default_set: str | None
    charged: tuple[str, str]
    may_queue: frozenset[str]

    def may_send_as(self, address: str) -> bool:
        """Whether one of its identities covers the address."""
        return self.identities is None or find_identity(self.identities, address) is not None

    def may_use(self, configuration_set: str) -> bool:
        return self.sets is None or configuration_set in self.sets


@dataclass(frozen=True, slots=True)
class Policy:
    """All that admission needs of a configuration."""

    hostname: str
    message_size: int
    header_size: int
    recipients: int
    received_header: bool
    credentials: Mapping[str, CredentialPolicy]
    identities: Mapping[str, Identity]
    identities_with_set: Mapping[str, Identity]
    sets: Mapping[str, ConfigurationSet]
    default_set: str | None
    limits: Mapping[str, Limit]

    @classmethod
    def of(cls, config: Config, hostname: str) -> Self:
        return cls(
            hostname=hostname,
            message_size=config.bounds.message_size,
            header_size=config.bounds.header_size,
            recipients=config.bounds.recipients,
            received_header=config.received_header,
            credentials={
                name: _credential(config, name, credential)
                for name, credential in config.credentials.items()
            },
            identities=config.identities,
            identities_with_set={
                name: identity
                for name, identity in config.identities.items()
                if identity.configuration_set is not None
            },
            sets=config.configuration_sets,
            default_set=config.default_configuration_set,
            limits=config_limits(config),
        )

    def default_sets(self, address: str, credential: CredentialPolicy) -> tuple[str | None, ...]:
        """The sets for mail that names none, the first that is allowed counts: that of the most
        specific identity that has one, the credential's, everybody's, the only one there is."""
        identity = find_identity(self.identities_with_set, address)
        usable = self.sets if credential.sets is None else credential.sets & self.sets.keys()
        return (
            self.identities_with_set[identity].configuration_set if identity else None,
            credential.default_set,
            self.default_set,
            next(iter(usable)) if len(usable) == 1 else None,
        )


def _credential(config: Config, name: str, credential: Credential) -> CredentialPolicy:
    key = credential_key(name)
    queues = {ACCOUNT: config.account.on_limit, key: credential.on_limit}
    return CredentialPolicy(
        name=name,
        enabled=credential.enabled,
        identities={
            identity: config.identities[identity]
            for identity in credential.identities
            if identity in config.identities
        }
        if credential.identities
        else None,
        sets=frozenset(credential.configuration_sets) or None,
        default_set=credential.configuration_set,
        charged=(ACCOUNT, key),
        may_queue=frozenset(key for key, on_limit in queues.items() if on_limit == "queue"),
    )

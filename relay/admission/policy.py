"""A configuration as admission asks it: everything that does not depend on a message, worked out
once when the configuration comes into force."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Self

from relay.config.identities import find_identity
from relay.config.model import Config, ConfigurationSet, Credential, Identity
from relay.config.suppression import SuppressionReason, reasons_checked
from relay.limits.specs import ACCOUNT, Limit, config_limits, credential_key, rate_key
from relay.mail.envelope import Recipient
from relay.mail.simulated import simulator_domain
from relay.store.pauses import Pause

_ADDRESSES = 4_096  # whose identity is remembered; those that send mail are fewer, mostly
_ADDRESSES_OF_CREDENTIAL = 64

FindIdentity = Callable[[str], str | None]
"""The identity that covers an address, as `find_identity` finds it."""


@dataclass(frozen=True, slots=True)
class CredentialPolicy:
    """What one credential may do. None for `identity_of` and `sets` means all.

    `charged` are the limits its mail counts against, `rates` their rates alone, for what counts in
    no quota; `may_queue` those of both that delay mail where the others refuse it.
    """

    name: str
    enabled: bool
    identity_of: FindIdentity | None = field(repr=False)
    sets: frozenset[str] | None
    default_set: str | None
    charged: tuple[str, str]
    rates: tuple[str, str]
    may_queue: frozenset[str]

    def may_send_as(self, address: str) -> bool:
        """Whether one of its identities covers the address."""
        return self.identity_of is None or self.identity_of(address) is not None

    def may_use(self, configuration_set: str) -> bool:
        return self.sets is None or configuration_set in self.sets


@dataclass(frozen=True, slots=True)
class Policy:
    """All that admission needs of a configuration. `simulator` is the domain of the mailbox
    simulator, `""` where it takes no mail; `pauses` are in force, by key."""

    hostname: str
    message_size: int
    header_size: int
    recipients: int
    received_header: bool
    credentials: Mapping[str, CredentialPolicy]
    identity_of: FindIdentity = field(repr=False)
    identity_with_set_of: FindIdentity = field(repr=False)
    set_of_identity: Mapping[str, str]
    sets: Mapping[str, ConfigurationSet]
    default_set: str | None
    limits: Mapping[str, Limit]
    suppression: Mapping[str, tuple[SuppressionReason, ...]]
    simulator: str = ""
    pauses: Mapping[str, Pause] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, hostname: str) -> Self:
        with_set = {
            name: identity
            for name, identity in config.identities.items()
            if identity.configuration_set is not None
        }
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
            identity_of=_remembering(config.identities, _ADDRESSES),
            identity_with_set_of=_remembering(with_set, _ADDRESSES),
            set_of_identity={
                name: identity.configuration_set
                for name, identity in with_set.items()
                if identity.configuration_set is not None
            },
            sets=config.configuration_sets,
            default_set=config.default_configuration_set,
            limits=config_limits(config),
            simulator=simulator_domain(hostname) if config.simulator_addresses else "",
            suppression={
                name: reasons_checked(chosen.suppression, config.suppression)
                for name, chosen in config.configuration_sets.items()
            },
        )

    def simulated(self, recipients: Sequence[Recipient]) -> list[str]:
        """The recipients that are addresses of the mailbox simulator."""
        if not self.simulator:
            return []
        ending = f"@{self.simulator}"
        return [one.address for one in recipients if one.address.endswith(ending)]

    def default_sets(self, address: str, credential: CredentialPolicy) -> tuple[str | None, ...]:
        """The sets for mail that names none, the first that is allowed counts: that of the most
        specific identity that has one, the credential's, everybody's, the only one there is."""
        identity = self.identity_with_set_of(address)
        usable = self.sets if credential.sets is None else credential.sets & self.sets.keys()
        return (
            self.set_of_identity[identity] if identity else None,
            credential.default_set,
            self.default_set,
            next(iter(usable)) if len(usable) == 1 else None,
        )


def _remembering(identities: Mapping[str, Identity], addresses: int) -> FindIdentity:
    """Senders are few and come again: the answers for the last of them are kept."""
    return lru_cache(maxsize=addresses)(partial(find_identity, identities))


def _credential(config: Config, name: str, credential: Credential) -> CredentialPolicy:
    key = credential_key(name)
    queues = {ACCOUNT: config.account.on_limit, key: credential.on_limit}
    return CredentialPolicy(
        name=name,
        enabled=credential.enabled,
        identity_of=_remembering(
            {
                identity: config.identities[identity]
                for identity in credential.identities
                if identity in config.identities
            },
            _ADDRESSES_OF_CREDENTIAL,
        )
        if credential.identities
        else None,
        sets=frozenset(credential.configuration_sets) or None,
        default_set=credential.configuration_set,
        charged=(ACCOUNT, key),
        rates=(rate_key(ACCOUNT), rate_key(key)),
        may_queue=frozenset(
            one
            for key, on_limit in queues.items()
            if on_limit == "queue"
            for one in (key, rate_key(key))
        ),
    )

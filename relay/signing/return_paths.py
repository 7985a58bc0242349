"""The reverse-path under which a message goes out: the client's own, or one that says which message
it belongs to, on the MAIL FROM domain of its identity.

Pure but for what it remembers. What the client gave stays in the message, for the relay's own
reports. The null reverse-path stays null: nothing is to come back (RFC 5321 §6.1).
"""

from collections.abc import Mapping, Sequence

from relay.config.identities import mail_from_for
from relay.config.model import Config, Identity
from relay.mail.envelope import Recipient, domain_of
from relay.mail.verp import VerpKey, make
from relay.store.values import Message

NUMBERED_AT_MOST = 1_000
"""Recipients of a larger envelope have no number: finding it would take longer than it is worth."""


class ReturnPaths:
    """Of one configuration; `keys` are empty where nothing needs them. Mail to `simulator`, the
    domain of the mailbox simulator (`""`: there is none), has such a return-path always: the
    simulator must know what it complains of."""

    def __init__(
        self, identities: Mapping[str, Identity], keys: Sequence[VerpKey], simulator: str = ""
    ) -> None:
        self._identities = identities
        self.keys = tuple(keys)
        self._key = keys[0] if keys else None
        self._simulator = simulator
        self._domains: dict[str, str] = {}

    def of(self, message: Message, recipients: tuple[Recipient, ...]) -> str:
        """The reverse-path for a transaction with `recipients`, the same each time: tied to the
        recipient where there is one, else to the message."""
        reverse_path = message.envelope.reverse_path
        if self._key is None or not reverse_path:
            return reverse_path
        domain = self._domain(message.identity)
        if not domain:
            if not self._simulator or domain_of(recipients[0].address) != self._simulator:
                return reverse_path
            domain = self._simulator
        return make(message.id, _number(message, recipients), domain, self._key)

    def _domain(self, identity: str) -> str:
        """The MAIL FROM domain of an identity. Those that left the configuration are not
        remembered, so that only what it names is."""
        known = self._domains.get(identity)
        if known is None:
            known = mail_from_for(self._identities, identity)
            if identity in self._identities:
                self._domains[identity] = known
        return known


def uses_return_paths(config: Config) -> bool:
    """Whether keys are needed: an identity has a MAIL FROM domain, or there is the simulator."""
    return config.simulator_addresses or any(
        identity.mail_from for identity in config.identities.values()
    )


def _number(message: Message, recipients: tuple[Recipient, ...]) -> int | None:
    everybody = message.envelope.recipients
    if len(recipients) != 1 or len(everybody) > NUMBERED_AT_MOST:
        return None
    # The same recipient given twice is told apart by nobody.
    return everybody.index(recipients[0]) if recipients[0] in everybody else None


NO_RETURN_PATHS = ReturnPaths({}, ())

"""The desk for what comes back: which addresses there are, and what becomes of what they get.

No open relay: the only recipients are return-paths of this relay that prove themselves, and the
addresses for complaints. No backscatter: what is not taken is refused in the dialogue, what is
taken is never answered with mail. What a report tells of is on stable storage before `250`.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from relay.config.model import Config
from relay.config.returns import Returns as Settings
from relay.frontend import replies
from relay.frontend.evidence import Evidence, evidence
from relay.frontend.incoming import store_answer
from relay.frontend.replies import Answer
from relay.mail import verp
from relay.mail.envelope import domain_of
from relay.mail.returned_mail import ReturnedMail, read_returned
from relay.mail.verp import NotOurs, ReturnPath, VerpKey
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.happenings import Happening
from relay.store.interface import StoreError

_PEOPLE = frozenset({"postmaster", "abuse"})
_AT_ONCE = 65_536  # octets that are read without giving others a turn
_NAMES = 1_000  # that reports about one message may name, where it cannot have more recipients


class ReportBook(Protocol):
    """Where what comes back is written down (`relay.store.interface.Outbox`)."""

    async def add(
        self, message_id: str, at: int, what: Happening, once: str = "", most: int | None = None
    ) -> bool: ...


class Returns:
    """Under one configuration, whose section `returns` is `settings`. `wall` gives UTC
    milliseconds."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        keys: Sequence[VerpKey],
        *,
        book: ReportBook,
        metrics: Metrics,
        log: Logger,
        wall: Callable[[], int],
    ) -> None:
        self._keys = tuple(keys)
        self._lifetime = round(settings.accept_for * 1000)
        self._names = max(_NAMES, config.bounds.recipients)
        self._postmaster = settings.postmaster or ""
        self._complaints = frozenset(address.lower() for address in settings.feedback_addresses)
        self._domains = frozenset(
            {identity.mail_from for identity in config.identities.values() if identity.mail_from}
            | {domain_of(address) for address in self._complaints}
        )
        self._book = book
        self._metrics = metrics
        self._log = log
        self._wall = wall

    def refusal(self, address: str) -> Answer | None:
        """Why mail to `address` is not taken; None where it is."""
        if address.lower() in self._complaints:
            return None
        local, _, domain = address.lower().rpartition("@")
        if local in _PEOPLE and (domain in self._domains or not domain):
            return replies.write_to(self._postmaster)
        try:
            self._read(address)
        except NotOurs as problem:
            if domain not in self._domains:
                return replies.NO_RELAYING
            if not local.startswith(verp.PREFIX):
                return replies.NO_SUCH_MAILBOX
            return replies.no_return_path(str(problem))
        return None

    async def take(self, address: str, octets: bytes, client: str) -> Answer:
        """What a whole message to `address` gets as its final reply; what it tells of is stored."""
        for_complaints = address.lower() in self._complaints
        if len(octets) > _AT_ONCE:
            mail = await asyncio.to_thread(read_returned, octets, for_complaints=for_complaints)
        else:
            mail = read_returned(octets, for_complaints=for_complaints)
        try:
            found = evidence(mail, None if for_complaints else self._read(address), self._read)
        except NotOurs as problem:  # its time ran out, or its key went, since RCPT
            return replies.no_return_path(str(problem))
        try:
            new = await self._write(found)
        except StoreError as problem:
            answer = store_answer(problem)
            self._tell(mail, found, client, answer.reason)
            return answer
        outcome = found.outcome if new or not found.told else "repeated"
        self._tell(mail, found, client, outcome)
        return replies.NOT_A_REPORT if found.outcome == "refused" else replies.REPORT_TAKEN

    async def _write(self, found: Evidence) -> int:
        """How much of it is new. All of it goes into as few transactions as the store can have."""
        at, add = self._wall(), self._book.add
        written = (add(one.message_id, at, one.what, one.once, self._names) for one in found.told)
        return sum(await asyncio.gather(*written))

    def _read(self, address: str) -> ReturnPath:
        return verp.read(address, self._keys, now=self._wall(), lifetime=self._lifetime)

    def _tell(self, mail: ReturnedMail, found: Evidence, client: str, outcome: str) -> None:
        self._metrics.child(self._metrics.returns, found.kind, outcome).inc()
        self._log.info(
            "returned mail refused" if found.outcome == "refused" else "returned mail taken",
            kind=found.kind,
            outcome=outcome,
            client=client,
            subject=mail.subject,
            **({"form": mail.report.form} if mail.report else {}),
            **({"message_id": found.told[0].message_id} if found.told else {}),
        )

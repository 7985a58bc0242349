"""One attempt at one delivery over an open connection: sign, send, and a result per recipient.

A delivery with more recipients than one transaction may have takes several, one after the other.
What goes wrong on our side (the store cannot read the body, the content must not be sent, signing
fails) becomes a result too; only cancellation leaves without one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic

from relay.config.model import Config
from relay.delivery.commands import UnsafeCommand, mail_of
from relay.delivery.connections import Connection
from relay.delivery.content import content_of, whole_content
from relay.delivery.dialogue import Dialogue, joined
from relay.delivery.lanes import Load
from relay.delivery.signer import Signer
from relay.delivery.transaction import MAX_RECIPIENTS, Answer, Content, Timeouts, Transaction
from relay.feedback.classify import Classifier
from relay.feedback.outcome import RecipientResult
from relay.feedback.settle import result_for, results_for_all
from relay.mail.dots import BareLineEnd
from relay.mail.envelope import Recipient
from relay.mail.replies import Reply
from relay.observe.logging import Logger
from relay.signing.return_paths import NO_RETURN_PATHS, ReturnPaths
from relay.store.interface import BodyDamaged, QueueStore, StoreError
from relay.store.values import Delivery

Results = tuple[RecipientResult, ...]


@dataclass(frozen=True, slots=True)
class Attempted:
    """The results of an attempt. Two kinds say nothing of the delivery, which may go over a fresh
    connection at once: `untouched`, the peer was gone before it answered anything, as a kept
    connection may be; and `group_broke`, it offers PIPELINING and lost what went out together."""

    results: Results
    untouched: bool = False
    group_broke: bool = False
    dialogue: Dialogue | None = None


class Attempts:
    """Makes attempts; holds what they share."""

    def __init__(
        self,
        config: Config,
        store: QueueStore,
        signer: Signer,
        log: Logger,
        wall: Callable[[], int],
        return_paths: ReturnPaths = NO_RETURN_PATHS,
        is_ours: Callable[[int], bool] = lambda epoch: True,
    ) -> None:
        """`is_ours`: whether the lease by which a delivery was claimed, of that epoch, certainly
        runs: it may have been lost, and another begun."""
        self._is_ours = is_ours
        self._store = store
        self._signer = signer
        self._log = log
        self._wall = wall
        self.configure(config, return_paths)

    def configure(self, config: Config, return_paths: ReturnPaths) -> None:
        """What follows from a configuration."""
        self._return_paths = return_paths
        self._classifier = Classifier.of(config.bounces)

    async def make(
        self,
        connection: Connection,
        delivery: Delivery,
        timeouts: Timeouts,
        most: int = MAX_RECIPIENTS,
    ) -> Attempted:
        """Send `delivery` over `connection`, whose reuse is the caller's decision; in transactions
        of `most` recipients.

        Raises `BodyDamaged`: the store has set the delivery apart, and nothing is to be settled;
        and `NotOurs`.
        """
        message = delivery.message
        try:
            signature = await self._signer.signature(message, self._wall() // 1000)
            recipients = delivery.recipients
            if len(recipients) <= most:
                return await self._transact(connection, delivery, recipients, signature, timeouts)
            return await self._in_parts(connection, delivery, signature, timeouts, most)
        except BodyDamaged:
            raise
        except StoreError as error:
            text = f"the stored message cannot be read now: {error}"
            return Attempted(results_for_all(delivery, Reply(451, "4.3.0", text), "local"))
        except (BareLineEnd, UnsafeCommand) as error:
            self._log.error(
                "message must not be sent as it is stored", message_id=message.id, error=str(error)
            )
            return Attempted(results_for_all(delivery, Reply(554, "5.6.0", str(error)), "local"))

    async def _in_parts(
        self,
        connection: Connection,
        delivery: Delivery,
        signature: bytes,
        timeouts: Timeouts,
        most: int,
    ) -> Attempted:
        results: Results = ()
        parts: list[Dialogue] = []
        everybody = delivery.recipients
        for start in range(0, len(everybody), most):
            if start and not connection.wire.is_usable:
                break  # those without a result are tried again
            part = everybody[start : start + most]
            attempted = await self._transact(connection, delivery, part, signature, timeouts)
            if not start and (attempted.untouched or attempted.group_broke):
                return attempted
            results += attempted.results
            if attempted.dialogue is not None:
                parts.append(attempted.dialogue)
        return Attempted(results, dialogue=joined(parts))

    async def _transact(
        self,
        connection: Connection,
        delivery: Delivery,
        recipients: tuple[Recipient, ...],
        signature: bytes,
        timeouts: Timeouts,
    ) -> Attempted:
        message = delivery.message
        body = message.body.inline
        content: Content
        if body is not None:
            content = whole_content(message, signature, body)
        else:
            content = await content_of(self._store, message, signature)
        transaction = Transaction(
            connection.wire,
            connection.peer,
            timeouts,
            mail_of(message, signature, self._return_paths.of(message, recipients)),
            recipients,
            reset_first=connection.needs_reset,
            is_ours=partial(self._is_ours, delivery.epoch),
        )
        began = monotonic()
        answers = await transaction.send(content)
        connection.needs_reset = transaction.needs_reset
        connection.carried += 1
        return Attempted(
            self._results(connection, answers),
            transaction.untouched,
            transaction.group_broke,
            Dialogue(connection.peer, began, transaction.said),
        )

    def _results(self, connection: Connection, answers: list[Answer]) -> Results:
        remote, dsn = connection.remote, connection.peer.dsn
        provider, classifier = connection.path.site.provider, self._classifier
        return tuple(
            [
                result_for(
                    answer.recipient,
                    answer.reply,
                    answer.phase,
                    remote,
                    provider=provider,
                    dsn_relayed=dsn,
                    classifier=classifier,
                )
                for answer in answers
            ]
        )


def together(load: Load) -> Delivery:
    """Deliveries of one message as one, with the recipients of all in their order."""
    if len(load) == 1:
        return load[0]
    return replace(load[0], recipients=tuple([one for each in load for one in each.recipients]))


def apart(load: Load, results: Results) -> Iterator[tuple[Delivery, Results]]:
    """Each delivery with its own of the results of all; one may have fewer than recipients."""
    start = 0
    for delivery in load:
        end = start + len(delivery.recipients)
        yield delivery, results[start:end] if len(load) > 1 else results
        start = end

"""Who must be told what became of a message, and the reports (DSNs) that tell them.

Decides by RFC 3461 and RFC 5321 §6.1; `mail.dsn` writes the report. Pure. One report per action
and attempt, to the reverse-path, with the null reverse-path of its own: a report is never reported
on, and nothing that came with the null reverse-path is.

- failed: unless NOTIFY says otherwise;
- delayed: once, where NOTIFY holds DELAY;
- relayed: where NOTIFY holds SUCCESS and the next host cannot report by itself.
"""

from collections.abc import Callable, Sequence

from relay.config.names import RESERVED_CREDENTIAL
from relay.feedback.outcome import RecipientResult
from relay.feedback.policy import Policy
from relay.mail.dsn import compose_dsn
from relay.mail.dsn_values import Action, Report, ReportedRecipient, wants_body
from relay.mail.enhanced import status_of_class
from relay.mail.envelope import Envelope, Recipient
from relay.mail.message_id import new_message_id
from relay.signing.body_hash import BodyHash
from relay.store.values import Body, Delivery, Message, NewMessage


def reports_of(
    delivery: Delivery, results: Sequence[RecipientResult], policy: Policy, now: int
) -> tuple[NewMessage, ...]:
    """The reports that concluded results call for: none, or one per action."""
    if not delivery.message.envelope.reverse_path:
        return ()
    wishes: tuple[tuple[Action, Callable[[RecipientResult], bool]], ...] = (
        ("failed", _wants_failure),
        ("relayed", _wants_success),
        ("delayed", _wants_delay),
    )
    reports = []
    for action, wanted in wishes:
        told = [result for result in results if wanted(result)]
        if told and (action != "delayed" or policy.tells_of_delay(delivery.attempts)):
            reports.append(_report(delivery, action, told, policy, now))
    return tuple(reports)


def _wants_failure(result: RecipientResult) -> bool:
    notify = result.recipient.notify
    return result.kind == "bounced" and (not notify or "FAILURE" in notify)


def _wants_success(result: RecipientResult) -> bool:
    return (
        result.kind == "delivered"
        and "SUCCESS" in result.recipient.notify
        and not result.dsn_relayed
    )


def _wants_delay(result: RecipientResult) -> bool:
    return result.kind == "deferred" and "DELAY" in result.recipient.notify


def _report(
    delivery: Delivery,
    action: Action,
    results: Sequence[RecipientResult],
    policy: Policy,
    now: int,
) -> NewMessage:
    """The report as a message to be stored in the transaction that ends the recipients."""
    message = delivery.message
    envelope = message.envelope
    report_id = new_message_id(now)
    header, content = compose_dsn(
        Report(
            report_id=report_id,
            reporting_mta=policy.hostname,
            reverse_path=envelope.reverse_path,
            action=action,
            recipients=tuple(_reported(result, action, message, now) for result in results),
            message_id=message.id,
            arrived_at=message.accepted_at,
            now=now,
            envid=envelope.envid,
            ret=envelope.ret,
            header=message.header,
            body=(
                message.body.inline if wants_body(action, envelope.ret, message.body.size) else None
            ),
        )
    )
    return NewMessage(
        Message(
            id=report_id,
            accepted_at=now,
            expires_at=now + policy.report_lifetime,
            envelope=Envelope(
                reverse_path="",
                recipients=(Recipient(envelope.reverse_path, notify=("NEVER",)),),
                smtputf8=not envelope.reverse_path.isascii(),
            ),
            credential=RESERVED_CREDENTIAL,
            configuration_set=policy.report_set,
            identity=policy.report_identity,
            header=header,
            body=whole_body(content),
        ),
        due_at=now,
        suppression=policy.report_suppression,
    )


def _reported(
    result: RecipientResult, action: Action, message: Message, now: int
) -> ReportedRecipient:
    return ReportedRecipient(
        address=result.recipient.address,
        status=_status(result, action),
        orcpt=result.recipient.orcpt,
        remote_mta=_name_of(result.remote),
        diagnostic=str(result.reply),
        attempted_at=now,
        retried_until=message.expires_at if action == "delayed" else None,
    )


def _name_of(remote: str) -> str:
    """The host name of a peer that is written `name[address]:port` (RFC 3464 §2.3.5)."""
    if remote.startswith("["):
        return remote[: remote.find("]") + 1]
    return remote.partition("[")[0]


def _status(result: RecipientResult, action: Action) -> str:
    """The status of a recipient (RFC 3464 §2.3.4), its class in agreement with the action."""
    if result.outcome == "expired":
        return "5.4.7"
    kind = {"failed": "5", "delayed": "4", "delivered": "2", "relayed": "2"}[action]
    return status_of_class(kind, result.reply.enhanced)


def whole_body(content: bytes) -> Body:
    """A body that is in memory, with its digests."""
    digests = BodyHash(relaxed=True)
    digests.update(content)
    simple, relaxed = digests.digests()
    return Body(
        size=len(content),
        simple_digest=simple,
        relaxed_digest=relaxed,
        eight_bit=digests.eight_bit,
        inline=content,
    )

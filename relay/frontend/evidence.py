"""What a message that came back is evidence of. Pure.

Only the token of a return-path counts, which says what was sent and when: in the address that the
message came to, or, in a complaint, anywhere in the original that it holds. Who claims what in it,
and in whose name, proves nothing and changes nothing. The same thing told again has the same word
(`once`), by which it is written down once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from relay.mail.arf import Feedback
from relay.mail.dsn_reading import ReadRecipient, ReadReport
from relay.mail.returned_mail import ReturnedMail
from relay.mail.verp import NotOurs, ReturnPath
from relay.store.happenings import Complained, Returned

EvidenceKind = Literal["bounce", "complaint", "auto_reply", "other"]
EvidenceOutcome = Literal[
    "recorded", "no_failure", "no_complaint", "unmatched", "dropped", "refused"
]
"""`recorded`: it is to be written down. `no_failure`: a report that nothing has failed.
`no_complaint`: feedback that is none, as not-spam. `unmatched`: about no mail of ours, as far as it
shows. `dropped`: an automatic reply. `refused`: none of what is taken."""

ReadPath = Callable[[str], ReturnPath]
"""What an address says as a return-path of ours; raises `NotOurs`."""


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to be written down about a message of ours."""

    message_id: str
    what: Returned | Complained
    once: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """`told` is empty unless `outcome` is `recorded`."""

    kind: EvidenceKind
    outcome: EvidenceOutcome
    told: tuple[Told, ...] = ()


def evidence(mail: ReturnedMail, path: ReturnPath | None, read_path: ReadPath) -> Evidence:
    """What follows from `mail`, which came to the return-path `path`, or (None) to an address for
    complaints."""
    if mail.feedback is not None:
        return _of_feedback(mail.feedback, path, read_path)
    if mail.report is not None:
        if path is None:  # reports of delivery have no business there
            return Evidence("bounce", "refused")
        return _of_report(mail.report, path)
    if mail.kind == "auto_reply":
        return Evidence("auto_reply", "dropped")
    return Evidence("other", "refused")


def _of_report(report: ReadReport, path: ReturnPath) -> Evidence:
    """Failures alone: what is delayed elsewhere may still arrive, and what a relay before it took
    was delivered as far as we know."""
    failed = [recipient for recipient in report.recipients if recipient.action == "failed"]
    if not failed:
        return Evidence("bounce", "no_failure")
    if path.recipient is not None:  # one recipient, whatever names he is forwarded to
        failed = failed[:1]
    return Evidence(
        "bounce",
        "recorded",
        tuple(_returned(recipient, report.reporting_mta, path) for recipient in failed),
    )


def _returned(recipient: ReadRecipient, reporting_mta: str, path: ReturnPath) -> Told:
    what = Returned(
        recipient=path.recipient,
        address=recipient.address,
        action=recipient.action,
        status=recipient.status,
        diagnostic=recipient.diagnostic,
        reporting_mta=reporting_mta,
        remote_mta=recipient.remote_mta,
    )
    return Told(path.message_id, what, _once("bounce", path, recipient.address))


def _of_feedback(feedback: Feedback, path: ReturnPath | None, read_path: ReadPath) -> Evidence:
    if not feedback.is_complaint:
        return Evidence("complaint", "no_complaint")
    path = path or _found(feedback.return_paths, read_path)
    if path is None:
        return Evidence("complaint", "unmatched")
    what = Complained(
        recipient=path.recipient,
        address=feedback.recipient,
        feedback_type=feedback.kind,
        user_agent=feedback.user_agent,
        arrived_at=feedback.arrived_at,
    )
    once = _once("complaint", path, feedback.recipient)
    return Evidence("complaint", "recorded", (Told(path.message_id, what, once),))


def _found(addresses: tuple[str, ...], read_path: ReadPath) -> ReturnPath | None:
    """The first that is one of ours."""
    for address in addresses:
        try:
            return read_path(address)
        except NotOurs:
            continue
    return None


def _once(kind: str, path: ReturnPath, address: str) -> str:
    """The word of one bounce, or one complaint, of one recipient of one message. Up to its last
    hyphen it is the same for all recipients of the message, so that they can be counted."""
    who = address.lower() if path.recipient is None else str(path.recipient)
    return f"{kind}-{_digest(path.message_id)}-{_digest(who)}"


def _digest(fact: str) -> str:
    return blake2b(fact.encode(errors="replace"), digest_size=16).hexdigest()

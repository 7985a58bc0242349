"""From what was counted to reports on TLS (RFC 8460): whose, about what, as which message. Pure."""

from collections import defaultdict
from collections.abc import Sequence

from relay.config.identities import find_identity
from relay.config.model import Config
from relay.config.names import RESERVED_CREDENTIAL
from relay.feedback.reports import whole_body
from relay.mail.envelope import Envelope, Recipient
from relay.mail.message_id import new_message_id
from relay.mail.tls_report import Failures, PolicyReport, TlsReport, compose_mail
from relay.store.tls_values import TlsTally
from relay.store.values import Message, NewMessage


def report_of(domain: str, day: int, tallies: Sequence[TlsTally], config: Config) -> TlsReport:
    """What is to be told to `domain` of a `day`."""
    by_policy: dict[tuple[str, str, tuple[str, ...]], list[TlsTally]] = defaultdict(list)
    for tally in tallies:
        outcome = tally.outcome
        by_policy[outcome.policy_type, outcome.policy_domain, outcome.policy].append(tally)
    keys = config.transport.tls_reports
    return TlsReport(
        domain=domain,
        day=day,
        submitter=config.hostname,
        organization=keys.organization or config.hostname,
        contact=keys.contact or f"postmaster@{config.hostname}",
        policies=tuple(_policy(key, by_policy[key]) for key in sorted(by_policy)),
    )


def _policy(key: tuple[str, str, tuple[str, ...]], tallies: Sequence[TlsTally]) -> PolicyReport:
    good = sum(tally.sessions for tally in tallies if not tally.outcome.result)
    failures = tuple(
        Failures(
            result=tally.outcome.result,
            sessions=tally.sessions,
            source=tally.outcome.source,
            host=tally.outcome.host,
            address=tally.outcome.address,
            code=tally.outcome.detail,
        )
        for tally in tallies
        if tally.outcome.result
    )
    return PolicyReport(*key, good, failures)


def report_message(report: TlsReport, to: str, config: Config, now: int) -> NewMessage:
    """The report as mail, signed and sent as that of an identity of ours. What the policies of the
    domain say of TLS does not stop it (RFC 8460 §3)."""
    keys = config.transport.tls_reports
    sender = keys.sender or keys.contact or ""
    name = keys.configuration_set or config.default_configuration_set or ""
    header, content = compose_mail(report, sender, to, now)
    message = Message(
        id=new_message_id(now),
        accepted_at=now,
        expires_at=now + round(config.configuration_sets[name].max_age * 1000),
        envelope=Envelope(reverse_path=sender, recipients=(Recipient(to, notify=("NEVER",)),)),
        credential=RESERVED_CREDENTIAL,
        configuration_set=name,
        identity=find_identity(config.identities, sender) or "",
        header=header,
        body=whole_body(content),
        tls_optional=True,
    )
    return NewMessage(message, due_at=now)

"""From a submission to a message that may be stored, or to a refusal.

Runs the pure checks, charges the account's and the credential's limits, and composes the message.
It stores nothing and sends nothing; what it counts is the waiting that limits impose, and the
caller counts what was accepted or refused. It raises nothing of its own.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import ceil

from relay.admission import refusals
from relay.admission.checks import Approved, examine
from relay.admission.final_header import final_header
from relay.admission.policy import Policy
from relay.admission.submission import Refusal, Submission
from relay.admission.wanted_fields import wanted_fields
from relay.config.model import Config
from relay.limits.gatekeeper import NOW, Decision, Gatekeeper
from relay.limits.specs import counted_key, describe
from relay.mail.simulated import simulated as simulation_of
from relay.observe.metrics import Metrics
from relay.store.pauses import Pause
from relay.store.values import Message, NewMessage

__all__ = ["Admission", "Refusal"]

# A message may wait for a quota to come round, and its set's age on top; a queue is never longer.
_DAY_S = 86_400.0


class Admission:
    """Decides on submissions under one configuration at a time."""

    def __init__(self, config: Config, limits: Gatekeeper, hostname: str, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._pauses: dict[str, Pause] = {}
        self._policy = Policy.of(config, hostname)

    def reconfigure(self, config: Config) -> None:
        """Put a new configuration in force for submissions that come after."""
        self._policy = replace(Policy.of(config, config.hostname), pauses=self._pauses)

    def pause(self, pauses: Iterable[Pause]) -> None:
        """Refuse new mail of these streams, and of no others."""
        self._pauses = {pause.key: pause for pause in pauses}
        self._policy = replace(self._policy, pauses=self._pauses)

    async def admit(self, submission: Submission) -> NewMessage | Refusal:
        """Check a submission and charge its recipients to the limits, suppressed ones included;
        those of the mailbox simulator to the rates alone, as SES does.

        The message may be due later than now, where a limit that queues says so.
        """
        policy = self._policy
        approved = examine(submission, policy)
        if isinstance(approved, Refusal):
            return approved
        recipients = submission.envelope.recipients
        simulated = policy.simulated(recipients)
        decision = await self._charge(approved, len(recipients) - len(simulated), len(simulated))
        if decision.delay_s > 0:
            self._count_wait(decision)
        if not decision.charged:
            return _refusal(decision, policy)
        return _message(submission, approved, policy, decision.delay_s, simulated)

    async def _charge(self, approved: Approved, real: int, simulated: int) -> Decision:
        """`simulated` recipients count in no quota."""
        credential = approved.credential
        decision = NOW
        patience = _DAY_S + approved.configuration_set.max_age
        if real:
            decision = await self._limits.charge(
                credential.charged, real, queue=credential.may_queue, patience=patience
            )
        if not simulated or not decision.charged:
            return decision
        if not real:
            return await self._limits.charge(
                credential.rates, simulated, queue=credential.may_queue, patience=patience
            )
        # One permit lets a whole message through, and these follow it; what they cost of the rate
        # is for the next message to wait for.
        await self._limits.charge(credential.rates, simulated, queue=True)
        return decision

    def _count_wait(self, decision: Decision) -> None:
        level, _, name = counted_key(decision.limited_by).partition(":")
        metrics = self._metrics
        metrics.child(metrics.limit_waits, level, name, decision.kind).inc()
        if decision.charged:
            metrics.child(metrics.limit_wait_seconds, level, name, decision.kind).inc(
                decision.delay_s
            )


def _refusal(decision: Decision, policy: Policy) -> Refusal:
    if decision.kind == "store":
        return refusals.limits_unavailable()
    limit = describe(policy.limits, decision.limited_by, decision.kind)
    if decision.kind == "quota":
        return refusals.quota_exceeded(decision.delay_s, limit)
    return refusals.rate_exceeded(decision.delay_s, limit)


def _message(
    submission: Submission,
    approved: Approved,
    policy: Policy,
    delay_s: float,
    simulated: list[str],
) -> NewMessage:
    """The age of a message counts from when it may go: a limit of the relay costs no retries."""
    due_at = submission.received_at + ceil(delay_s * 1000)
    message = Message(
        id=submission.id,
        accepted_at=submission.received_at,
        expires_at=due_at + round(approved.configuration_set.max_age * 1000),
        envelope=submission.envelope,
        credential=submission.credential,
        configuration_set=approved.set_name,
        identity=approved.identity,
        header=final_header(submission, approved.reading, policy)
        + wanted_fields(
            submission,
            approved.reading,
            set_name=approved.set_name,
            configured=approved.configuration_set,
            identity=approved.identity,
            tags=approved.tags,
        ),
        body=submission.body,
        tags=approved.tags,
        tls_optional=approved.reading.tls_optional,
        client=submission.client,
        client_tls=submission.tls,
    )
    return NewMessage(
        message,
        due_at,
        policy.suppression[approved.set_name],
        withheld=frozenset([a for a in simulated if simulation_of(a).is_suppressed]),
        rejected=submission.rejected,
    )

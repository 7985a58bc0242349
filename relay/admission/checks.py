"""The checks that a submission passes, in Amazon SES's order, each a pure function.

Each takes the submission, what its header says, and the policy; None lets it pass. They decide
nothing else and touch nothing: tests call them with values, one table for each. Limits come last
and are not here, since they are the only ones that wait (`relay.admission.admission`).
"""

from dataclasses import dataclass

from relay.admission import refusals
from relay.admission.policy import CredentialPolicy, Policy
from relay.admission.reading import Reading, read_header
from relay.admission.submission import Refusal, Submission
from relay.admission.tags import parse_tags
from relay.config.model import ConfigurationSet
from relay.mail.received import MAXIMUM_HOPS


@dataclass(frozen=True, slots=True)
class Approved:
    """A submission that all checks let pass, and what they found out on the way."""

    reading: Reading
    credential: CredentialPolicy
    identity: str
    set_name: str
    configuration_set: ConfigurationSet
    tags: tuple[tuple[str, str], ...]


def examine(submission: Submission, policy: Policy) -> Approved | Refusal:
    """All checks, in order; the first refusal counts."""
    refusal = check_size(submission, policy)
    if refusal is not None:
        return refusal
    reading = read_header(submission.headers, smtputf8=submission.envelope.smtputf8)
    if isinstance(reading, Refusal):
        return reading
    refusal = (
        check_loop(reading)
        or check_recipients(submission, policy)
        or check_credential(submission, policy)
        or check_identities(submission, reading, policy)
    )
    if refusal is not None:
        return refusal
    credential = policy.credentials[submission.credential]
    set_name = choose_set(reading, credential, policy)
    if isinstance(set_name, Refusal):
        return set_name
    refusal = check_pauses(set_name, credential.name, policy) if policy.pauses else None
    if refusal is not None:
        return refusal
    return Approved(
        reading=reading,
        credential=credential,
        identity=policy.identity_of(reading.from_addresses[0]) or "",
        set_name=set_name,
        configuration_set=policy.sets[set_name],
        tags=parse_tags(reading.tags) if reading.tags else (),
    )


def check_size(submission: Submission, policy: Policy) -> Refusal | None:
    """The content and its header are within bounds. Sessions cut longer ones off; this holds for
    every way in."""
    header = sum([len(field.raw) for field in submission.headers.fields])
    if header > policy.header_size:
        return refusals.header_too_long(policy.header_size)
    if header + 2 + submission.body.size > policy.message_size:
        return refusals.message_too_long(policy.message_size)
    return None


def check_loop(reading: Reading) -> Refusal | None:
    """RFC 5321 §6.3: a message with so many hops behind it goes round in circles."""
    return refusals.mail_loop(reading.hops) if reading.hops > MAXIMUM_HOPS else None


def check_recipients(submission: Submission, policy: Policy) -> Refusal | None:
    """The envelope counts, not the header."""
    if len(submission.envelope.recipients) > policy.recipients:
        return refusals.too_many_recipients(policy.recipients)
    return None


def check_credential(submission: Submission, policy: Policy) -> Refusal | None:
    """The session may have outlived its credential: a reload removes or disables it."""
    credential = policy.credentials.get(submission.credential)
    if credential is None or not credential.enabled:
        return refusals.credential_disabled(submission.credential)
    return None


def check_identities(submission: Submission, reading: Reading, policy: Policy) -> Refusal | None:
    """Reverse-path, From and Sender belong to identities of this relay, and the credential may
    send as them. The null reverse-path belongs to nobody and is fine."""
    reverse_path = submission.envelope.reverse_path
    addresses = dict.fromkeys((*reading.from_addresses, *reading.sender_addresses))
    if reverse_path:
        addresses[reverse_path] = None
    unknown = [one for one in addresses if policy.identity_of(one) is None]
    if unknown:
        return refusals.identities_unknown(unknown)
    credential = policy.credentials[submission.credential]
    forbidden = [one for one in addresses if not credential.may_send_as(one)]
    if forbidden:
        return refusals.identities_not_allowed(forbidden, credential.name)
    return None


def choose_set(reading: Reading, credential: CredentialPolicy, policy: Policy) -> str | Refusal:
    """The configuration set that the message names, or else the first default it may use."""
    named = reading.configuration_set
    if named is None:
        address = reading.from_addresses[0]
        chosen = next(
            (
                name
                for name in policy.default_sets(address, credential)
                if name is not None and name in policy.sets and credential.may_use(name)
            ),
            None,
        )
        if chosen is None:
            identity = policy.identity_of(address) or address
            return refusals.set_missing(identity, credential.name)
    else:
        chosen = named
        if chosen not in policy.sets:
            return refusals.set_unknown(chosen)
        if not credential.may_use(chosen):
            return refusals.set_not_allowed(chosen, credential.name)
    if not policy.sets[chosen].sending:
        return refusals.set_paused(chosen)
    return chosen


def check_pauses(set_name: str, credential: str, policy: Policy) -> Refusal | None:
    """Sending of the configuration set or of the credential was paused while the relay ran."""
    for key in (f"set:{set_name}", f"credential:{credential}"):
        pause = policy.pauses.get(key)
        if pause is not None:
            return refusals.stream_paused(pause)
    return None

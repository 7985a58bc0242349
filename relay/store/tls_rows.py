"""How TLS with other relays went, as the columns of a row. Pure, for every store."""

from collections.abc import Sequence
from typing import Any

from relay.store.tls_values import TlsOutcome, TlsTally


def fields_of(outcome: TlsOutcome) -> tuple[str, ...]:
    """In the order of `TlsOutcome`; the strings of the policy are lines of one text."""
    return (
        outcome.domain,
        outcome.policy_type,
        outcome.policy_domain,
        "\n".join(outcome.policy),
        outcome.result,
        outcome.detail,
        outcome.source,
        outcome.host,
        outcome.address,
    )


def tally_of(row: Sequence[Any]) -> TlsTally:
    """From those columns, and the number of sessions."""
    domain, kind, policy_domain, policy, *rest, sessions = row
    strings = tuple(policy.split("\n")) if policy else ()
    return TlsTally(TlsOutcome(domain, kind, policy_domain, strings, *rest), sessions)

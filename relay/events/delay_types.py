"""Why mail is tried again, in the words of SES: its `delayType` for each category of a reply."""

from typing import Literal

DelayType = Literal[
    "InternalFailure",
    "General",
    "MailboxFull",
    "SpamDetected",
    "RecipientServerError",
    "IPFailure",
    "TransientCommunicationFailure",
    "BYOIPHostNameLookupUnavailable",
    "Undetermined",
    "SendingDeferral",
]
"""All that SES knows. The relay never says `BYOIPHostNameLookupUnavailable`, which is about
addresses that one brings to Amazon, nor `SendingDeferral`: what waits for a limit of one's own has
not been tried, and no event tells of it."""

DELAY_TYPES: dict[str, DelayType] = {
    # The recipient or the message: the conversation went well, the answer was no for now.
    "mailbox_unknown": "General",
    "mailbox_inactive": "General",
    "mailbox_full": "MailboxFull",
    "domain_unknown": "General",
    "too_large": "General",
    "content": "General",
    "policy": "General",
    "auth": "General",
    # The sender: what it is thought of.
    "spam": "SpamDetected",
    "blocked": "IPFailure",
    "throttled": "IPFailure",
    # The receiving server.
    "unavailable": "RecipientServerError",
    "relay_denied": "RecipientServerError",
    # The way there. SES shows greylisting with this word too.
    "greylisted": "TransientCommunicationFailure",
    "unreachable": "TransientCommunicationFailure",
    "timeout": "TransientCommunicationFailure",
    "tls": "TransientCommunicationFailure",
    "protocol": "TransientCommunicationFailure",
    "dns": "TransientCommunicationFailure",
    # Ourselves.
    "local": "InternalFailure",
    "expired": "General",
    # Nobody knows.
    "other": "Undetermined",
    "unclassified": "Undetermined",
    "delivered": "Undetermined",
}
"""For each word that a result may have (`feedback.outcome.Outcome`), so that none is forgotten;
what is delivered is not delayed."""


def delay_type(category: str) -> DelayType:
    """SES's word; `Undetermined` for what another release of the relay called in its own."""
    return DELAY_TYPES.get(category, "Undetermined")

"""The header fields that a configuration set has asked for, where a message has none of its own.

They stand below the client's own fields and are signed with them, as RFC 8058 demands.
"""

import re

from relay.admission.reading import Reading
from relay.admission.submission import Submission
from relay.config.headers import TOKEN, Unsubscribe
from relay.config.model import ConfigurationSet
from relay.mail.headers import HeaderError, header_field
from relay.mail.unsubscribe import Subscription, make_token, unsubscribe_fields

CAMPAIGN = "campaign"
"""The message tag whose value is the first part of Feedback-ID."""

_PART_CHARACTERS = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def wanted_fields(
    submission: Submission,
    reading: Reading,
    *,
    set_name: str,
    configured: ConfigurationSet,
    identity: str,
    tags: tuple[tuple[str, str], ...],
) -> bytes:
    """Whole fields, each ended by CRLF; nothing where nothing was asked for."""
    if configured.feedback_id is None and configured.unsubscribe is None:
        return b""
    own = {field.name for field in reading.kept}
    fields = b""
    if configured.feedback_id is not None and "feedback-id" not in own:
        campaign = next((value for name, value in tags if name == CAMPAIGN), "")
        parts = (campaign, set_name, identity, configured.feedback_id)
        fields += header_field("Feedback-ID", ":".join(map(_safe, parts)))
    if configured.unsubscribe is not None and not own & _UNSUBSCRIBE:
        fields += _way_out(configured.unsubscribe, submission, set_name)
    return fields


_UNSUBSCRIBE = {"list-unsubscribe", "list-unsubscribe-post"}


def _safe(part: str) -> str:
    """Parts are counted by their text, and a colon would begin the next one."""
    return _UNSAFE.sub("-", part)[:_PART_CHARACTERS]


def _way_out(wanted: Unsubscribe, submission: Submission, set_name: str) -> bytes:
    """A token is for one recipient: a message to several has no use for one, since each of them
    would read it and could unsubscribe the other."""
    recipients = submission.envelope.recipients
    token = ""
    if len(recipients) == 1:
        about = Subscription(submission.id, set_name, recipients[0].address)
        token = make_token(about, wanted.secret)
    ways = [_with_token(template, token) for template in (wanted.url, wanted.mailto)]
    try:
        return unsubscribe_fields(*ways) if any(ways) else b""
    except HeaderError:  # an address that fills a line; there is no way to write it
        return b""


def _with_token(template: str | None, token: str) -> str | None:
    if template is None or (TOKEN in template and not token):
        return None
    return template.replace(TOKEN, token)

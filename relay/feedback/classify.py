"""What a reply means for a recipient: delivered, try again or give up, and the word for why.

Pure and total: every phase, code and text has an answer. The code decides whether mail is tried
again (RFC 5321 §4.2.1), with these exceptions, all towards trying again, because what failed is not
this message: anything before MAIL (a refused session may go well elsewhere or later); 503, our
state and the peer's disagree; 552 and 5.5.3 at RCPT where they mean too many recipients (RFC 5321
§4.5.3.1.10).

The enhanced code and then the text give the word (`outcome`) for metrics and people. A *hard
bounce* puts the address on the suppression list, where an error keeps mail from a living mailbox.
So it needs all of: a permanent reply, to this recipient, that says in its enhanced code or in
plain words that the mailbox or domain does not exist, and says nothing of spam, policy, rates or
relaying. Replies of this relay never count, but for two answers of DNS.
"""

import re
from dataclasses import dataclass

from relay.feedback.outcome import Kind, Outcome, Phase
from relay.feedback.wording import outcome_by_text
from relay.mail.replies import Reply

_BEFORE_MAIL = frozenset({"connect", "greeting", "ehlo", "tls", "auth"})

_BY_ENHANCED: dict[str, Outcome] = {
    "1.1": "mailbox_unknown",
    "1.2": "domain_unknown",
    "1.3": "mailbox_unknown",
    "1.6": "mailbox_unknown",
    "1.7": "policy",
    "1.8": "policy",
    "1.10": "domain_unknown",
    "2.1": "mailbox_unknown",
    "2.2": "mailbox_full",
    "2.3": "too_large",
    "3.4": "too_large",
    "4.1": "unreachable",
    "4.2": "unreachable",
    "4.3": "dns",
    "4.4": "unreachable",
    "4.5": "throttled",
    "4.6": "unreachable",
    "4.7": "expired",
    **dict.fromkeys(("5.0", "5.1", "5.2", "5.4", "5.5"), "protocol"),
    "5.3": "throttled",
    "7.0": "policy",
    "7.1": "policy",
    "7.7": "policy",
    "7.8": "auth",
    "7.9": "auth",
    "7.10": "tls",
    "7.11": "tls",
    "7.13": "policy",
    "7.27": "policy",
    "7.28": "throttled",
}
_AMBIGUOUS = frozenset({"1.10", "4.1", "4.2", "5.0", "7.0", "7.1"})
"""Codes that peers use for several things: plain words say which."""

_BY_CODE: dict[int, Outcome] = {
    421: "unreachable",
    454: "tls",
    **dict.fromkeys((500, 501, 502, 503, 504, 555), "protocol"),
    521: "relay_denied",
    523: "too_large",
    **dict.fromkeys((530, 534, 535, 538), "auth"),
    551: "mailbox_unknown",
    552: "too_large",
    556: "domain_unknown",
}
_BY_PHASE: dict[Phase, Outcome] = {
    "connect": "unreachable",
    "greeting": "unreachable",
    "ehlo": "protocol",
    "routing": "unreachable",
}

_HARD = frozenset({"5.1.1", "5.1.6", "5.1.10", "5.2.1"})
_VAGUE = frozenset({"", "5.0.0", "5.1.0", "5.1.2", "5.2.0", "5.5.0"})
"""Codes that alone suppress nobody; plain words under them are believed."""

_HARD_ROUTING = frozenset({(550, "5.1.2"), (556, "5.1.10")})
_DOUBT = re.compile(
    r"temporar|sender|mail from|reverse|return[ -]path|helo|client host|your (?:ip|host|domain)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Classification:
    """`hard_bounce`: the address itself is dead, and goes to the suppression list."""

    kind: Kind
    outcome: Outcome
    hard_bounce: bool = False


_DELIVERED = Classification("delivered", "delivered")


def classify(reply: Reply, phase: Phase, recipient: str = "") -> Classification:
    """What `reply` means for a recipient when it is all that `phase` gave.

    `recipient` is the address; after RCPT a reply speaks of the whole message, and is a hard bounce
    only where its text names the address.
    """
    if phase == "final" and 200 <= reply.code < 300:
        return _DELIVERED
    if not 400 <= reply.code < 600:
        return Classification("deferred", "protocol")
    outcome = _outcome(reply, phase)
    if not _final(reply, phase):
        return Classification("deferred", outcome)
    return Classification("bounced", outcome, _is_hard(reply, phase, recipient))


def _final(reply: Reply, phase: Phase) -> bool:
    """Whether trying again is useless."""
    if reply.code < 500 or phase in _BEFORE_MAIL or reply.code == 503:
        return False
    return not (phase == "rcpt" and _says_too_many(reply))


def _says_too_many(reply: Reply) -> bool:
    """Whether a reply to RCPT refuses the number of recipients rather than this one."""
    if reply.enhanced == "5.5.3":
        return True
    if reply.code != 552 or reply.enhanced:
        return False
    told = outcome_by_text(reply.text)
    return told is None or told.outcome == "throttled"


def _outcome(reply: Reply, phase: Phase) -> Outcome:
    """The word for a reply. Peers hang spam and policy on any code, so telling words come first."""
    if phase == "tls":
        return "tls"
    if phase == "auth":
        return "auth"
    status = reply.enhanced[2:]
    if phase == "local" or (phase == "routing" and status == "3.5"):
        return "expired" if status == "4.7" else "local"
    told = outcome_by_text(reply.text) if phase != "routing" else None
    coded = _BY_ENHANCED.get(status)
    if told and (told.outranks_codes or coded is None or status in _AMBIGUOUS):
        return told.outcome
    return coded or _BY_CODE.get(reply.code) or _BY_PHASE.get(phase, "other")


def _is_hard(reply: Reply, phase: Phase, recipient: str) -> bool:
    """Whether a permanent reply says that the address itself is dead; no in every doubt."""
    if phase == "routing":
        return (reply.code, reply.enhanced) in _HARD_ROUTING
    names_it = bool(recipient) and recipient.lower() in reply.text.lower()
    if not (phase == "rcpt" or (phase in ("data", "content", "final") and names_it)):
        return False
    told = outcome_by_text(reply.text)
    if _DOUBT.search(reply.text) or (told is not None and told.outranks_codes):
        return False
    says_dead = told is not None and told.outcome in ("mailbox_unknown", "domain_unknown")
    return reply.enhanced in _HARD or (reply.enhanced in _VAGUE and says_dead)

"""What plain words in a reply say, where its codes do not: an ordered table of patterns.

Pure. The first match wins, so what speaks against the sender (spam, policy, relaying, rates) stands
before what speaks of the mailbox: `user unknown, see our spam policy` must suppress nobody. Mail
addresses in the text are not read as words. The patterns are alternatives of bounded length, so
that the time is linear in the text.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from relay.feedback.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Wording:
    """`outranks_codes`: believed even where the codes say something else."""

    outcome: Outcome
    outranks_codes: bool
    pattern: re.Pattern[str]


def _wording(outcome: Outcome, *phrases: str, outranks_codes: bool) -> Wording:
    return Wording(outcome, outranks_codes, re.compile("|".join(phrases), re.IGNORECASE))


_ADDRESS = re.compile(r"(?<![^\s<>])[^\s<>@]+@[^\s<>]*")

_TABLE = (
    _wording("greylisted", r"gr[ea]y-?\s?list", r"postgrey", outranks_codes=True),
    _wording(
        "throttled",
        r"too many (?:messages|connections|emails|mails|concurrent|sessions|requests)",
        r"(?:rate|sending|connection|hourly|daily)[ -]limit",
        r"rate[ -]?limit|throttl",
        r"too (?:quickly|fast|frequent)",
        r"at a rate that",
        r"(?:rate|limit|quota) (?:has been )?exceeded for (?:your|this) (?:ip|host|sender|domain)",
        outranks_codes=True,
    ),
    _wording(
        "spam",
        r"\bspam",
        r"\bubl\b|\bspamhaus|\bspamcop|\bbarracuda|\bsorbs\b|\buceprotect|\bproofpoint",
        r"\b(?:dns|real-?time)[- ]?(?:bl|black|block)",
        r"\bd?nsbl\b|\brbl\b|\bdnsbl",
        r"(?:black|block|deny)[ -]?list",
        r"unsolicited|\bbulk mail|\bjunk\b|phish|malware|\bvirus",
        r"(?:poor|low|bad) reputation|reputation",
        outranks_codes=True,
    ),
    _wording(
        "relay_denied",
        r"relay(?:ing)? (?:access )?(?:is )?(?:denied|not (?:permitted|allowed)|prohibited)",
        r"(?:unable|not (?:permitted|allowed|authorized)|cannot|won't|will not) to relay",
        r"not (?:permitted|allowed|authorized) to relay|we do(?:n't| not) relay",
        outranks_codes=True,
    ),
    _wording(
        "policy",
        r"\bdmarc\b|\bspf\b|\bdkim\b",
        r"\bblocked\b|\bbanned\b|\bprohibited\b",
        r"(?:polic(?:y|ies)) (?:reasons?|violation|reject|restrict)|(?:by|to|of|local) policy",
        r"not (?:authori[sz]ed|permitted|allowed) to send",
        r"(?:reverse|ptr|fcrdns|rdns)\b.{0,40}(?:dns|record|lookup|hostname|not|fail|missing)",
        r"content (?:reject|restrict|filter)",
        r"sender (?:address )?(?:is )?(?:rejected|denied|verify|verification)",
        r"access denied",
        outranks_codes=True,
    ),
    _wording(
        "auth",
        r"authentication (?:is )?(?:required|failed)|must (?:be )?authenticat|not authenticated",
        r"\blog ?in\b.{0,20}required",
        outranks_codes=True,
    ),
    _wording(
        "tls", r"must issue a starttls|(?:requires?|must use) (?:tls|encrypt)", outranks_codes=True
    ),
    _wording(
        "mailbox_full",
        r"(?:mailbox|inbox|account|user|recipient|storage|folder).{0,30}\b(?:full|over ?quota)",
        r"over (?:the |its |his |disk |storage )?quota|quota (?:is )?exceeded",
        r"exceed\w* .{0,20}quota|storage allocation",
        outranks_codes=True,
    ),
    _wording(
        "too_large",
        r"(?:message|mail|size|content).{0,30}(?:too (?:large|big|long)|exceeds)",
        outranks_codes=False,
    ),
    _wording(
        "domain_unknown",
        r"(?:unknown|no such|invalid|nonexistent|non-existent) domain",
        r"domain (?:name )?(?:does not exist|doesn't exist|not found|is unknown|unknown)",
        outranks_codes=False,
    ),
    _wording(
        "mailbox_unknown",
        r"(?:unknown|no such|nonexistent|non-existent) "
        r"(?:local )?(?:e-?mail )?(?:user|recipient|mailbox|address|account|person|part)",
        r"no (?:mailbox|user|recipient|account|address)(?: by that name| here| with|"
        r" found| exists?|\b.{0,10}\bfound)",
        r"(?:user|recipient|mailbox|address|account)(?: name| address)? (?:is )?"
        r"(?:unknown|not known|nonexistent|non-existent|not found|does ?n[o']t exist|"
        r"doesn't exist|does not exist|not exist)",
        r"(?:user|recipient|mailbox|address|account) .{0,80}(?:does not exist|doesn't exist|"
        r"not found|is unknown|unknown)",
        r"user not local|not a (?:valid|known) (?:mailbox|user|recipient|address)",
        r"invalid (?:mailbox|recipient|user)|unrouteable address|undeliverable address",
        outranks_codes=False,
    ),
    _wording(
        "throttled",
        r"try again later|too many|temporar\w+ (?:deferred|rejected)",
        outranks_codes=False,
    ),
    _wording("timeout", r"time(?:d)?[ -]?out|did not answer .{0,40}in time", outranks_codes=False),
)


def outcome_by_text(text: str) -> Wording | None:
    """The first wording of the table that `text` (at most 1,000 characters are read) holds."""
    return _search(_ADDRESS.sub("", text[:1000]))


@lru_cache(maxsize=1024)
def _search(text: str) -> Wording | None:
    """Remembered: a destination that refuses a thousand messages says the same each time."""
    return next((wording for wording in _TABLE if wording.pattern.search(text)), None)

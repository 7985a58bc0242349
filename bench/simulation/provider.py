"""A mailbox provider as a relay meets it: what it lets in, what it says when that is too much.

It sees connections and recipients by source address, as providers do, and counts them in exact
sliding windows. Its words are those of real providers. Nothing here knows of relay.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

PeerReply = tuple[int, str]

GRAIN = 0.001
"""Seconds by which a window is shorter: what comes exactly one window later is beyond it."""

TOO_MANY_CONNECTIONS = (
    421,
    "4.7.0 Too many concurrent SMTP connections; please try again later. [TSS04]",
)
TOO_FAST = (
    421,
    "4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP"
    " address. To protect our users from spam, mail sent from your IP address has been temporarily"
    " rate limited.",
)
BLOCKED = (
    550,
    "5.7.1 Service unavailable, Client host blocked using Spamhaus. To request removal from this"
    " list see https://www.spamhaus.org/query/ip (AS3130)",
)
GREYLISTED = (
    450,
    "4.2.0 Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/",
)
TAKEN = (250, "2.0.0 OK")
WELCOME = (220, "mx.provider.test ESMTP")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a provider lets a source do. `rates` are (recipients, seconds) in any sliding window; a
    day is one of them. `round_trip` is in seconds; `thinking` is how long it takes for a reply,
    from and to. With `greylisting`, seconds, a source's first message to an address is put off."""

    connections: int = 1_000_000
    rates: tuple[tuple[int, float], ...] = ()
    round_trip: float = 0.1
    thinking: tuple[float, float] = (0.01, 0.2)
    greylisting: float = 0.0
    pipelining: bool = True


@dataclass(slots=True)
class Seen:
    """What one source has done: the moments of its recipients that were offered, and of those that
    were taken, in seconds; and its connections."""

    offered: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    replies: Counter[int] = field(default_factory=Counter)
    refused: list[float] = field(default_factory=list)
    connections: int = 0
    most_connections: int = 0
    opened: list[float] = field(default_factory=list)


class Provider:
    """One provider. `rules` may be replaced at any time, and `blocked` names the sources that it
    takes nothing from; `down` makes it refuse connections."""

    def __init__(self, name: str, rules: Rules) -> None:
        self.name = name
        self.rules = rules
        self.blocked: set[str] = set()
        self.down = False
        self.seen: defaultdict[str, Seen] = defaultdict(Seen)
        self._known: dict[tuple[str, str], float] = {}
        self._lately: defaultdict[tuple[str, float], deque[float]] = defaultdict(deque)

    def greet(self, source: str, now: float) -> PeerReply:
        """A connection has come, and is counted until `leave` unless it is refused."""
        seen = self.seen[source]
        seen.opened.append(now)
        if seen.connections >= self.rules.connections:
            seen.refused.append(now)
            return TOO_MANY_CONNECTIONS
        seen.connections += 1
        seen.most_connections = max(seen.most_connections, seen.connections)
        return WELCOME

    def leave(self, source: str) -> None:
        self.seen[source].connections -= 1

    def mail(self, source: str, recipients: int, now: float) -> PeerReply:
        """MAIL for so many recipients has come."""
        seen = self.seen[source]
        seen.offered.extend([now] * recipients)
        if source in self.blocked:
            return self._refuse(seen, BLOCKED, now)
        if self._is_too_much(source, recipients, now):
            return self._refuse(seen, TOO_FAST, now)
        return TAKEN

    def rcpt(self, source: str, address: str, now: float) -> PeerReply:
        if not self.rules.greylisting:
            return TAKEN
        known = self._known.setdefault((source, address), now)
        if now - known < self.rules.greylisting:
            self.seen[source].replies[GREYLISTED[0]] += 1
            return GREYLISTED
        return TAKEN

    def take(self, source: str, recipients: int, now: float) -> PeerReply:
        """The content has come."""
        seen = self.seen[source]
        seen.replies[250] += recipients
        seen.taken.extend([now] * recipients)
        return TAKEN

    def _refuse(self, seen: Seen, reply: PeerReply, now: float) -> PeerReply:
        seen.replies[reply[0]] += 1
        seen.refused.append(now)
        return reply

    def _is_too_much(self, source: str, recipients: int, now: float) -> bool:
        """Whether so many more are too many in any of the windows. What is refused is not counted,
        nor is what was too much in one of them counted in the others."""
        windows = [(self._lately[source, span], count) for count, span in self.rules.rates]
        for (lately, _), (_, span) in zip(windows, self.rules.rates, strict=True):
            while lately and lately[0] <= now - span + GRAIN:
                lately.popleft()
        if any(len(lately) + recipients > count for lately, count in windows):
            return True
        for lately, _ in windows:
            lately.extend([now] * recipients)
        return False

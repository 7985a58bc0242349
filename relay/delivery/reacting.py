"""What a provider's reply does to the mail at hand, and which sources rest for whom.

Each reply of a peer is compared with the rules once, where it was received: mail that is deferred
because others were told no is not told no again. What a rule does to one delivery (try it later,
from another source, give it up) is decided here; what it does to all mail of a source is a
complaint to the supervisor, which counts for all workers. A rest begins here at once all the same,
before anybody has answered: the next message must not be refused too.

Owns the rests that this worker knows of. Never touches a lane: whoever places mail asks.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from relay.delivery.path import Path
from relay.feedback.asked_delay import asked_delay
from relay.feedback.outcome import REPLY_CHARACTERS, Phase, RecipientResult
from relay.feedback.reactions import Rule, Rules
from relay.feedback.restraints import Complaint, Rest
from relay.mail.enhanced import printable_text
from relay.mail.replies import Reply
from relay.observe.metrics import Metrics

Results = tuple[RecipientResult, ...]
_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sent:
    """How mail went when it was answered: `began` is in monotonic seconds of the machine. `line`
    is the word of the destination's limits, `provider` its definition's name or an empty one.
    `is_simulated`: nobody was told anything, and what is answered says nothing of how we send."""

    source: str
    line: str
    provider: str
    began: float
    is_simulated: bool = False


def sent_by(path: Path, began: float) -> Sent:
    """How mail went that took `path`."""
    site = path.site
    return Sent(path.source, site.line, site.provider, began, site.kind == "simulator")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What rules make of a reply. `retry_in` are the seconds after which it is tried again (None:
    by the schedule), `elsewhere` says that another source may try at once, `rests` that this one
    sends nothing more to the line for now; of a refused connection, `restrains` that it was refused
    for how we send, `is_crowded` that there are too many, `gives_up` that mail is not tried
    again."""

    rule: str
    results: Results = ()
    retry_in: float | None = None
    elsewhere: bool = False
    rests: bool = False
    restrains: bool = False
    is_crowded: bool = False
    gives_up: bool = False


class Reacting:
    """`complain` tells the supervisor; `rested` is called with a source and a line when it begins
    to rest for it. `clock` gives the monotonic seconds of the machine."""

    def __init__(
        self,
        metrics: Metrics,
        clock: Callable[[], float],
        *,
        complain: Callable[[Complaint], None],
        rested: Callable[[str, str], None],
    ) -> None:
        self.rules = Rules(())
        self._metrics = metrics
        self._clock = clock
        self._complain = complain
        self._rested = rested
        self._rests: dict[str, dict[str, Rest]] = {}  # by line, then by source
        self._own: set[tuple[str, str]] = set()  # of these, what the supervisor knows nothing of

    def __repr__(self) -> str:
        return f"<Reacting {sum(map(len, self._rests.values()))} rests>"

    # Replies

    def judge(self, results: Results, sent: Sent) -> Judgement | None:
        """What the results of an attempt mean beyond themselves; None where no rule was met."""
        found = [self._find(result, sent) for result in results]
        rules = list(dict.fromkeys(rule for rule in found if rule is not None))
        if not rules:
            return None
        for rule in rules:
            self._apply(rule, results[found.index(rule)].reply, sent)
        altered = tuple(
            result if rule is None else _altered(result, rule)
            for result, rule in zip(results, found, strict=True)
        )
        deferred = [
            (result, rule)
            for result, rule in zip(altered, found, strict=True)
            if result.kind == "deferred"
        ]
        delays = [_delay(rule, result.reply) for result, rule in deferred if rule is not None]
        named = [delay for delay in delays if delay is not None]
        return Judgement(
            rule=rules[0].name,
            results=altered,
            retry_in=max(named, default=None),
            elsewhere=bool(deferred) and all(rule and _moves(rule) for _, rule in deferred),
            rests=self.rests(sent.source, sent.line),
        )

    def restrains(self, results: Results, provider: str) -> bool:
        """Whether a reply meets a rule that holds a source back. Nothing follows from asking."""
        rules = (self.rules.find(r.reply, r.phase, provider) for r in results)
        return any(rule is not None and rule.restrains for rule in rules)

    def judge_refusal(self, reply: Reply, phase: Phase, sent: Sent) -> Judgement | None:
        """The same for a connection that was refused: nobody's mail was looked at."""
        rule = None if sent.is_simulated else self.rules.find(reply, phase, sent.provider)
        if rule is None:
            return None
        self._apply(rule, reply, sent)
        return Judgement(
            rule=rule.name,
            retry_in=_delay(rule, reply),
            rests=self.rests(sent.source, sent.line),
            restrains=rule.restrains,
            is_crowded=rule.action == "fewer_connections",
            gives_up=rule.action == "bounce",
        )

    def _find(self, result: RecipientResult, sent: Sent) -> Rule | None:
        if result.kind == "delivered" or sent.is_simulated:
            return None
        return self.rules.find(result.reply, result.phase, sent.provider)

    def _apply(self, rule: Rule, reply: Reply, sent: Sent) -> None:
        label = sent.provider or "other"
        self._metrics.child(self._metrics.reactions, sent.source, label, rule.action).inc()
        if not rule.restrains:
            return
        self._complain(
            Complaint(
                source=sent.source,
                line=sent.line,
                provider=sent.provider,
                rule=rule.name,
                action=rule.action,
                seconds=rule.seconds,
                reply=printable_text(str(reply), REPLY_CHARACTERS),
                began=sent.began,
                count=rule.after.count if rule.after else 1,
                within=rule.after.seconds if rule.after else 0.0,
            )
        )
        # With a trigger the supervisor decides, for it counts what other workers hear too.
        if rule.action in ("pause", "other_source") and rule.after is None:
            self.rest(sent, rule.seconds, rule.name)

    # Rests

    def rest(self, sent: Sent, seconds: float, rule: str) -> None:
        """Let a source rest in this worker, where it does not already."""
        if not self.rests(sent.source, sent.line):
            because = f"{sent.source} rests for {sent.line}: {rule}"
            self._put(Rest(sent.source, sent.line, self._clock() + seconds, because))
            self._own.add((sent.source, sent.line))

    def forgive(self) -> None:
        """End the rests of this worker alone, which began where connections were refused."""
        for source, line in tuple(self._own):
            self._put(Rest(source, line, 0.0))

    def told(self, rest: Rest) -> None:
        """A source rests for a line until then, or (0) no more: the supervisor says so."""
        self._put(rest)

    def _put(self, rest: Rest) -> None:
        self._own.discard((rest.source, rest.line))
        sources = self._rests.setdefault(rest.line, {})
        if rest.until > self._clock():
            is_new = rest.source not in sources
            sources[rest.source] = rest
            if is_new:
                self._rested(rest.source, rest.line)
        else:
            sources.pop(rest.source, None)
            if not sources:
                del self._rests[rest.line]

    def resting(self, line: str) -> Collection[str]:
        """The sources that send nothing to `line` now."""
        sources = self._rests.get(line)
        if sources is None:
            return _NOBODY
        now = self._clock()
        for rest in [rest for rest in sources.values() if rest.until <= now]:
            self._put(replace(rest, until=0.0))
        return sources.keys()

    def rests(self, source: str, line: str) -> bool:
        """Whether a source sends nothing to `line` now."""
        return bool(self._rests) and source in self.resting(line)

    def because(self, line: str, sources: Collection[str]) -> str:
        """Why these sources rest for `line`, as a clause for the sender of mail that it costs."""
        known = self._rests.get(line, {})
        return "; ".join(known[source].because for source in sources if source in known)

    def first_end(self, line: str, sources: Collection[str]) -> float:
        """When the first of `sources` that rest for `line` sends again: monotonic seconds."""
        known = self._rests.get(line, {})
        return min((known[source].until for source in sources if source in known), default=0.0)


def _altered(result: RecipientResult, rule: Rule) -> RecipientResult:
    """The result as a rule wants it: given up, or tried again all the same."""
    if rule.action == "bounce" and result.kind == "deferred":
        return replace(result, kind="bounced")
    if rule.tries_again and result.kind == "bounced":
        return replace(result, kind="deferred")
    return result


def _delay(rule: Rule, reply: Reply) -> float | None:
    """The seconds until the next attempt, where the rule or the peer names them."""
    if rule.action != "retry_later":
        return None
    return asked_delay(reply.text) or rule.seconds


def _moves(rule: Rule) -> bool:
    return rule.action == "other_source" and rule.after is None

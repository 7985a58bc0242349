"""Attempts and their dialogues, for people."""

from collections.abc import Sequence

from relay.cli.output import moment, plural, say, shown
from relay.store.values import Attempt, AttemptResult, DialogueLine

_MARKS = {"us": "->", "peer": "<-", "note": "  "}


def print_attempts(attempts: Sequence[Attempt], *, dialogues: bool = True) -> None:
    """Each attempt in order: when, from where to where, what became of it, and what was said."""
    for attempt in attempts:
        say()
        say(shown(_headline(attempt)))
        for result in attempt.results:
            say(f"  {shown(_result(result))}")
        if dialogues:
            for line in attempt.dialogue:
                say(f"    {shown(_line(line))}")


def _headline(attempt: Attempt) -> str:
    if not attempt.number:
        return f"{moment(attempt.at)}  {attempt.domain}: given up without an attempt"
    way = f" from {attempt.source}" if attempt.source else ""
    peer = f" to {attempt.peer}" if attempt.peer else ""
    has_spoken = any(line.who == "us" for line in attempt.dialogue)
    tls = f", {attempt.tls}" if attempt.tls else ", without TLS" if has_spoken else ""
    took = f", {attempt.seconds:.3g} s" if attempt.seconds else ""
    return f"{moment(attempt.at)}  {attempt.domain}: attempt {attempt.number}{way}{peer}{tls}{took}"


def _result(result: AttemptResult) -> str:
    word = result.kind if result.outcome == result.kind else f"{result.kind} ({result.outcome})"
    whom = ", ".join(result.recipients[:3])
    if result.count > 3:
        whom = f"{plural(result.count, 'recipient')}, {result.recipients[0]} the first"
    return f"{word}: {whom}: {result.reply}"


def _line(line: DialogueLine) -> str:
    return f"{line.after / 1000:7.3f} {_MARKS[line.who]} {line.text}"

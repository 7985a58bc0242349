"""How well the shipped rules understand what real servers say: accuracy, and false hard bounces.

`python -m bench.classify` prints figures for the parts of `tests/feedback/corpus`: the one that the
rules were written against (tuned), a third, chosen by a hash of the text, that was held back, and
`fresh.yaml`, which was gathered from a public collection and labelled when the rules were done.
`--failures` lists what is wrong in the first part; of the others only numbers are printed, so that
nobody is tempted to write a rule for them.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

import yaml

from relay.feedback.classify import shipped_classifier
from relay.feedback.outcome import Classification, Phase
from relay.mail.enhanced import split_reply
from relay.mail.replies import Reply

CORPUS = Path(__file__).parent.parent / "tests" / "feedback" / "corpus"
RECIPIENT = "bob@example.org"
Part = Literal["tuned", "held back", "fresh"]
OWN = frozenset({"routing", "connect", "local"})


@dataclass(frozen=True, slots=True)
class Labelled:
    """A reply with what a person says of it. `said_by`: the file, which names the server."""

    said_by: str
    provider: str
    phase: Phase
    text: str
    category: str
    hard: bool
    tried_again: bool | None
    bounce: str

    @property
    def part(self) -> Part:
        if sha256(self.text.encode()).digest()[0] % 3:
            return "tuned"
        return "fresh" if self.said_by == "fresh" else "held back"

    @property
    def reply(self) -> Reply:
        code, _, text = self.text.partition(" ")
        reply = split_reply(int(code), text)
        if self.phase in OWN or self.said_by == "own":
            return Reply(reply.code, reply.enhanced, reply.text)
        return reply


@dataclass(frozen=True, slots=True)
class Judged:
    """A labelled reply and what the rules make of it."""

    case: Labelled
    found: Classification

    @property
    def category_right(self) -> bool:
        return self.case.category == said(self.found)

    @property
    def false_hard(self) -> bool:
        return self.found.hard_bounce and not self.case.hard

    @property
    def missed_hard(self) -> bool:
        return self.case.hard and not self.found.hard_bounce

    @property
    def bounce_right(self) -> bool:
        return str(self.found.bounce) == self.case.bounce

    @property
    def kind_right(self) -> bool:
        return self.case.tried_again is None or self.case.tried_again == (
            self.found.kind == "deferred"
        )


@dataclass(frozen=True, slots=True)
class Score:
    """Shares are of 1."""

    replies: int
    categories: float
    bounces: float
    hard: int
    hard_found: int
    false_hard: int
    unclassified: int
    wrong_kind: int


def said(found: Classification) -> str:
    """The category, where not knowing and knowing nothing are the same."""
    return "other" if found.outcome == "unclassified" else found.outcome


def corpus(directory: Path = CORPUS) -> list[Labelled]:
    """Every labelled reply."""
    return [case for file in sorted(directory.glob("*.yaml")) for case in _cases(file)]


def _cases(file: Path) -> Iterable[Labelled]:
    data = yaml.safe_load(file.read_text("utf-8"))
    for row in data["replies"]:
        category, *marks = row["is"].split(", ")
        assert row["phase"] in get_args(Phase), row
        yield Labelled(
            said_by=file.stem,
            provider=data["provider"],
            phase=row["phase"],
            text=row["reply"],
            category=category,
            hard="hard" in marks,
            tried_again=True if "tried again" in marks else None,
            bounce=row["bounce"],
        )


def judge(cases: Iterable[Labelled]) -> list[Judged]:
    """What the shipped rules say of each."""
    classify = shipped_classifier().classify
    return [
        Judged(case, classify(case.reply, case.phase, RECIPIENT, case.provider)) for case in cases
    ]


def score(judged: Sequence[Judged]) -> Score:
    """Figures of one part."""
    count = len(judged)
    hard = [one for one in judged if one.case.hard]
    return Score(
        replies=count,
        categories=sum(one.category_right for one in judged) / count,
        bounces=sum(one.bounce_right for one in judged) / count,
        hard=len(hard),
        hard_found=sum(not one.missed_hard for one in hard),
        false_hard=sum(one.false_hard for one in judged),
        unclassified=sum(one.found.outcome == "unclassified" for one in judged),
        wrong_kind=sum(not one.kind_right for one in judged),
    )


def by_category(judged: Sequence[Judged]) -> list[tuple[str, int, float, float]]:
    """Of each category: how many replies, precision, recall."""
    labelled = Counter(one.case.category for one in judged)
    found = Counter(said(one.found) for one in judged)
    right = Counter(one.case.category for one in judged if one.category_right)
    return [
        (name, labelled[name], _share(right[name], found[name]), _share(right[name], number))
        for name, number in sorted(labelled.items())
    ]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _print_part(name: str, judged: Sequence[Judged]) -> None:
    figures = score(judged)
    print(f"{name}: {figures.replies} replies")
    print(f"  category right        {figures.categories:6.1%}")
    print(f"  SES type right        {figures.bounces:6.1%}")
    print(f"  hard bounces found    {figures.hard_found} of {figures.hard}")
    print(f"  false hard bounces    {figures.false_hard}")
    print(f"  no rule knew          {figures.unclassified}")
    print(f"  wrongly tried again   {figures.wrong_kind}")
    print("  category            replies  precision  recall")
    for category, number, precision, recall in by_category(judged):
        print(f"  {category:18} {number:8} {precision:10.1%} {recall:7.1%}")


def _print_failures(judged: Iterable[Judged]) -> None:
    for one in judged:
        marks = "FALSE-HARD " if one.false_hard else "missed-hard " if one.missed_hard else ""
        if marks or not one.category_right or not one.bounce_right or not one.kind_right:
            print(
                f"  {marks}{one.case.category}->{one.found.outcome} [{one.found.rule}]"
                f" {one.case.bounce}->{one.found.bounce} {one.case.said_by} {one.case.phase}:"
                f" {one.case.text[:230]}"
            )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--failures", action="store_true", help="list them, of the tuned part")
    options = parser.parse_args()
    cases = corpus()
    judged = {part: judge(case for case in cases if case.part == part) for part in get_args(Part)}
    if options.failures:
        _print_failures(judged["tuned"])
        return
    for part, replies in judged.items():
        _print_part(part, replies)


if __name__ == "__main__":
    main()

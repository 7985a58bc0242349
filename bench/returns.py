"""How much of what comes back is understood: `python -m bench.returns` reads `tests/mail/corpus`.

Each message there is labelled with the address that it came to, what it is, and what follows from
it. Those below `generated` were written by real servers (`bench.returns_servers`). A message is
*parsed* when it is seen for what it is, *matched* when the message and the recipients that it tells
of are found, and *right* when the events that follow are those of its label. `--failures` lists
what is not. Of `forged`, nothing may follow at all.

The labels are a person's; the readers were written with most of these messages at hand, so the
figures say what is covered rather than what the next server's words will be read as.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from relay.feedback.policy import Policies
from relay.feedback.returned import understand
from relay.frontend.evidence import Evidence, evidence
from relay.mail.returned_mail import read_returned
from relay.mail.verp import NotOurs, ReturnPath, VerpKey, make, read
from relay.store.happenings import OutboxEntry
from relay.store.log_values import BounceFacts, ComplaintFacts, LoggedEvent, LoggedMessage
from tests.limits.making import make_config

CORPUS = Path(__file__).parent.parent / "tests" / "mail" / "corpus"
KEY = VerpKey(3, b"k" * 32)  # a fixture: what the corpus's return-paths were made with
OTHER_KEY = VerpKey(3, b"o" * 32)
DOMAIN = "bounce.example.net"
MESSAGE_ID = "010001a0c4506c76-5b0c5f0e-8a55-4a7c-9b61-1f6f6b2f7a10-000000"
ACCEPTED_AT = 0x01A0C4506C76
RECIPIENTS = ("ann@example.org", "bob@example.com")
LATER = ACCEPTED_AT + 3_600_000
LIFETIME = 30 * 86_400_000
POLICIES = Policies.of(make_config())

MESSAGE = LoggedMessage(
    id=MESSAGE_ID,
    accepted_at=ACCEPTED_AT,
    expires_at=ACCEPTED_AT + 345_600_000,
    reverse_path="news@example.net",
    recipients=RECIPIENTS,
    credential="app",
    configuration_set="news",
    identity="example.net",
    size=100,
)
"""What all of the corpus is about."""

ADDRESSES = {
    "first": make(MESSAGE_ID, 0, DOMAIN, KEY),
    "second": make(MESSAGE_ID, 1, DOMAIN, KEY),
    "all": make(MESSAGE_ID, None, DOMAIN, KEY),
    "forged": make(MESSAGE_ID, 0, DOMAIN, OTHER_KEY),
    "complaints": "",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A message that came to `address` (empty: the one for complaints), and its label: `kind` and
    `outcome` as the listener counts them, and the events in words."""

    file: Path
    address: str
    kind: str
    outcome: str
    told: tuple[str, ...]

    @property
    def family(self) -> str:
        return self.file.parent.name


@dataclass(frozen=True, slots=True)
class Found:
    """A message and what is made of it."""

    case: Case
    kind: str
    outcome: str
    events: tuple[LoggedEvent, ...]
    suppressed: tuple[str, ...]

    @property
    def told(self) -> tuple[str, ...]:
        return tuple(_words(event) for event in self.events)

    @property
    def parsed(self) -> bool:
        return self.kind == self.case.kind

    @property
    def matched(self) -> bool:
        return self.outcome == self.case.outcome and len(self.told) == len(self.case.told)

    @property
    def right(self) -> bool:
        return self.parsed and self.matched and sorted(self.told) == sorted(self.case.told)


def corpus(directory: Path = CORPUS) -> list[Case]:
    """Every labelled message."""
    return [case for file in sorted(directory.glob("*/labels.yaml")) for case in _cases(file)]


def _cases(labels: Path) -> Iterable[Case]:
    for name, label in yaml.safe_load(labels.read_text("utf-8")).items():
        kind, _, outcome = label["is"].partition(" ")
        yield Case(
            labels.parent / name,
            ADDRESSES[label["to"]],
            kind,
            outcome,
            tuple(label.get("told", ())),
        )


def judge(cases: Iterable[Case]) -> list[Found]:
    """What the relay makes of each."""
    return [_judge(case) for case in cases]


def _judge(case: Case) -> Found:
    path: ReturnPath | None = None
    if case.address:
        try:
            path = _read(case.address)
        except NotOurs:
            return Found(case, "refused", "at RCPT", (), ())
    octets = case.file.read_bytes().replace(b"\n", b"\r\n")
    mail = read_returned(octets, for_complaints=path is None)
    found = evidence(mail, path, _read)
    events, suppressed = _understood(found)
    return Found(case, mail.kind, found.outcome, events, suppressed)


def _understood(found: Evidence) -> tuple[tuple[LoggedEvent, ...], tuple[str, ...]]:
    events: tuple[LoggedEvent, ...] = ()
    suppressed: tuple[str, ...] = ()
    for number, told in enumerate(found.told):
        entry = OutboxEntry(number, told.message_id, LATER, told.what)
        message = MESSAGE if told.message_id == MESSAGE_ID else None
        made = understand(entry, message, events, policies=POLICIES, hostname="relay.example")
        events += made.events
        suppressed += tuple(one.address for one in made.suppress)
    return events, suppressed


def _read(address: str) -> ReturnPath:
    return read(address, [KEY], now=LATER, lifetime=LIFETIME)


def _words(event: LoggedEvent) -> str:
    to = "+".join(event.recipients)
    match event.facts:
        case BounceFacts(type=type, subtype=subtype):
            return f"Bounce {type}/{subtype} {to}"
        case ComplaintFacts(feedback_type=type):
            return f"Complaint {type} {to}"
        case _:
            return f"{event.type} {to}"


def _print_family(name: str, found: Sequence[Found]) -> None:
    count = len(found)
    print(
        f"{name:14} {count:4} {sum(one.parsed for one in found) / count:9.1%}"
        f" {sum(one.matched for one in found) / count:9.1%}"
        f" {sum(one.right for one in found) / count:9.1%}"
    )


def _print_failures(found: Iterable[Found]) -> None:
    for one in found:
        if not one.right:
            case = one.case
            print(
                f"  {case.family}/{case.file.name}: {case.kind} {case.outcome} {list(case.told)}"
                f" -> {one.kind} {one.outcome} {list(one.told)}"
            )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--failures", action="store_true", help="list them")
    options = parser.parse_args()
    found = judge(corpus())
    if options.failures:
        _print_failures(found)
        return
    print(f"{'':14} {'':4} {'parsed':>9} {'matched':>9} {'right':>9}")
    for family in sorted({one.case.family for one in found}):
        _print_family(family, [one for one in found if one.case.family == family])
    _print_family("all", found)


if __name__ == "__main__":
    main()

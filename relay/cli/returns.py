"""`relay returns`: what the relay would make of a message that came back."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from relay.cli.failures import FAILED, OK, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import print_facts, print_json, print_table, shown, utc_ms
from relay.cli.place import find_config
from relay.config.returns import Returns
from relay.feedback.classify import Classifier
from relay.feedback.returned import meaning_of
from relay.frontend.evidence import Evidence, EvidenceOutcome, evidence
from relay.mail.dsn_reading import ReadRecipient, address_in
from relay.mail.mime import read_message
from relay.mail.returned_mail import ReturnedMail, read_returned
from relay.mail.verp import NotOurs, ReturnPath, VerpKey, read
from relay.signing.keys import KeyFileError
from relay.signing.return_path_keys import read_keys
from relay.store.happenings import Returned

app = App(
    name="returns",
    help="Say what is made of bounces and complaints that come back.",
    help_format="plaintext",
)

_LARGEST = 10_000_000


_ADDRESSEES = ("delivered-to", "x-original-to", "envelope-to", "to")
_KINDS = {
    "dsn": "a delivery report",
    "feedback": "a report of a feedback loop",
    "auto_reply": "an automatic reply",
    "other": "none of what is taken",
}
_OUTCOMES: dict[EvidenceOutcome, str] = {
    "recorded": "it is recorded",
    "no_failure": "nothing: nothing has failed",
    "no_complaint": "nothing: nobody complains",
    "unmatched": "nothing: it proves to be about no mail of this relay",
    "dropped": "nothing: automatic replies are dropped",
    "refused": "it is refused",
}


@dataclass(frozen=True, slots=True)
class Reported:
    """One recipient that a report names. `category` to `hard_bounce` are what the rules make of a
    failure; empty where nothing has failed."""

    address: str
    action: str
    status: str = ""
    diagnostic: str = ""
    category: str = ""
    bounce: str = ""
    hard_bounce: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a message is and what would follow, for programs. `proof` says why it is believed, or
    why not; `recipient` is the number in the envelope where the proof has one."""

    kind: str
    form: str
    outcome: EvidenceOutcome
    proof: str
    message_id: str = ""
    recipient: int | None = None
    reported: tuple[Reported, ...] = ()


@app.command(name="test")
def try_out(
    file: Annotated[
        Path,
        Parameter(
            name="FILE", help="The message; `-` for standard input.", allow_leading_hyphen=True
        ),
    ],
    /,
    *,
    to: Annotated[
        str, Parameter(help="The address that it came to, where its header does not say.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what the relay makes of a message that came back: what it is, which mail it proves to be
    about, and what follows. Changes nothing and needs no running relay. Exits 1 where nothing would
    be recorded."""
    place = find_config(config)
    settings = place.config()
    try:
        keys = read_keys(place.data_dir())
    except KeyFileError as error:
        raise CommandFailed(str(error)) from None
    returns = settings.returns or Returns(address="127.0.0.1:25")
    octets = _octets(file)
    classifier = Classifier.of(settings.bounces)
    found = _verdict(octets, to or _addressee(octets), keys, returns, classifier)
    if as_json:
        print_json(found)
    else:
        _print(found)
    return OK if found.outcome == "recorded" else FAILED


def _octets(file: Path) -> bytes:
    if str(file) == "-":
        octets = sys.stdin.buffer.read(_LARGEST + 1)
    else:
        with file.open("rb") as stream:
            octets = stream.read(_LARGEST + 1)
    if len(octets) > _LARGEST:
        raise CommandFailed(f"{file} is larger than {_LARGEST:,} octets, and no report is")
    return octets


def _addressee(octets: bytes) -> str:
    """Whom a message came to, by the fields that servers and programs leave in it."""
    message = read_message(octets)
    found = (address_in(message.get(name)) for name in _ADDRESSEES)
    return next(filter(None, found), "")


def _verdict(
    octets: bytes, to: str, keys: Sequence[VerpKey], returns: Returns, classifier: Classifier
) -> Verdict:
    def read_path(address: str) -> ReturnPath:
        return read(address, keys, now=utc_ms(), lifetime=round(returns.accept_for * 1000))

    for_complaints = to.lower() in {address.lower() for address in returns.feedback_addresses}
    mail = read_returned(octets, for_complaints=for_complaints)
    form = mail.report.form if mail.report else ""
    path: ReturnPath | None = None
    if not for_complaints:
        try:
            path = read_path(to)
        except NotOurs as problem:
            why = f"{to} is no return-path of this relay: {problem}"
            if not to:
                why = "none: no field says which address it came to; give it as --to ADDRESS"
            return Verdict(mail.kind, form, "refused", why, reported=_reported(mail, classifier))
    found = evidence(mail, path, read_path)
    return Verdict(
        mail.kind,
        form,
        found.outcome,
        _proof(found, path),
        found.told[0].message_id if found.told else path.message_id if path else "",
        found.told[0].what.recipient if found.told else path.recipient if path else None,
        _reported(mail, classifier),
    )


def _proof(found: Evidence, path: ReturnPath | None) -> str:
    if path is not None:
        return "the address that it came to was made by this relay"
    if found.told:
        return "it holds a return-path that was made by this relay"
    return "none: it holds no return-path of this relay"


def _reported(mail: ReturnedMail, classifier: Classifier) -> tuple[Reported, ...]:
    if mail.feedback is not None:
        return (Reported(mail.feedback.recipient, mail.feedback.kind),)
    recipients = mail.report.recipients if mail.report else ()
    return tuple(_one(recipient, classifier) for recipient in recipients)


def _one(found: ReadRecipient, classifier: Classifier) -> Reported:
    said = Reported(found.address, found.action, found.status, found.diagnostic)
    if found.action != "failed":
        return said
    what = Returned(None, found.address, "failed", found.status, found.diagnostic)
    told = meaning_of(what, classifier, found.address, "")
    return replace(
        said, category=told.outcome, bounce=str(told.bounce), hard_bounce=told.hard_bounce
    )


def _whose(found: Verdict) -> str:
    if found.recipient is not None:
        return f"number {found.recipient + 1}"
    return "not proven where it had several: nobody is suppressed then" if found.message_id else ""


def _print(found: Verdict) -> None:
    print_facts(
        [
            ("it is", _KINDS[found.kind]),
            ("written as", found.form),
            ("proof", found.proof),
            ("message", found.message_id),
            ("recipient", _whose(found)),
            ("what follows", _OUTCOMES[found.outcome]),
        ]
    )
    if found.reported:
        print_table(
            ("recipient", "says", "status", "means", "diagnostic"),
            [
                (
                    shown(one.address) or "not named",
                    one.action,
                    one.status,
                    f"{one.category} ({one.bounce})" if one.category else "",
                    shown(one.diagnostic),
                )
                for one in found.reported
            ],
        )

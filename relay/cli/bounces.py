"""`relay bounces`: what replies mean, which of them no rule knows, and where later bounces go."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from relay.admin.endpoints import (
    RETURN_PATHS_ROTATE,
    UNCLASSIFIED,
    UNCLASSIFIED_CLEAR,
    Nothing,
)
from relay.admin.nodes import RotatedKeys
from relay.admin.unclassified import UnclassifiedRequest
from relay.cli.desk import must_own, open_desk
from relay.cli.failures import FAILED, OK, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import (
    moment,
    plural,
    print_facts,
    print_json,
    print_table,
    say,
    shown,
)
from relay.cli.place import find_config
from relay.cli.reactions import parse_reply
from relay.cli.return_path_records import CheckedDomain, ask_mx, check_domain, domains_of
from relay.cli.txt_records import ask_txt
from relay.config.model import Config
from relay.config.shipped import shipped_text
from relay.feedback.classify import Classifier
from relay.feedback.outcome import Classification, Phase
from relay.signing.keys import KeyFileError
from relay.signing.return_path_keys import rotate

app = App(
    name="bounces",
    help="Say what replies mean, and check where bounces come back to.",
    help_format="plaintext",
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a reply means, for programs. `attempts` is 0 where it is tried until it expires."""

    kind: str
    category: str
    bounce_type: str
    bounce_subtype: str
    hard_bounce: bool
    rule: str
    attempts: int


@app.command
def classify(
    reply: Annotated[str, Parameter(name="REPLY", help="As a server gave it, with its code.")],
    /,
    *,
    phase: Annotated[Phase, Parameter(help="What it answered.")] = "rcpt",
    provider: Annotated[str, Parameter(help="Who gave it: the name of a definition.")] = "",
    recipient: Annotated[str, Parameter(help="The address that was refused.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what a reply means for a recipient, and by which rule, of the configuration's and then
    the shipped ones. Needs no running relay. Exits 1 where no rule knows it."""
    classifier = Classifier.of(find_config(config).config().bounces)
    found = classifier.classify(parse_reply(reply), phase, recipient, provider)
    if as_json:
        print_json(_meaning(found))
    else:
        print_facts(
            [
                ("category", found.outcome),
                ("what follows", _what_follows(found)),
                ("in SES's words", str(found.bounce)),
                ("the address", "is dead: it is suppressed" if found.hard_bounce else ""),
                ("rule", found.rule or "none knows it"),
            ]
        )
    return OK if found.rule else FAILED


@app.command
def show() -> int:
    """Print the rules that ship with relay, as they may be copied into the configuration."""
    sys.stdout.write(shipped_text("bounces.yaml"))
    return OK


@app.command
def unclassified(
    *,
    limit: Annotated[int, Parameter(help="How many at most.")] = 100,
    clear: Annotated[bool, Parameter(help="Forget them all.", negative="")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """List the refusals that no rule knew, most frequent first, without what differs each time."""
    with open_desk(config) as desk:
        if clear:
            changed = desk.call(UNCLASSIFIED_CLEAR, Nothing())
            if as_json:
                print_json(changed)
            else:
                say(f"forgot {plural(changed.count, 'reply')}")
            return OK
        found = desk.call(UNCLASSIFIED, UnclassifiedRequest(limit))
    if as_json:
        print_json(found)
    elif not found:
        say("every refusal was known to a rule")
    else:
        print_table(
            ("count", "phase", "provider", "first seen", "last seen", "reply"),
            [
                (
                    one.count,
                    one.phase,
                    one.provider,
                    moment(one.first_seen),
                    moment(one.last_seen),
                    shown(one.reply),
                )
                for one in found
            ],
        )
    return OK


@app.command
def check(
    *,
    nameserver: Annotated[
        str, Parameter(help="Ask this server (ADDRESS or ADDRESS:PORT), not the system's.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare the MX and SPF records of every MAIL FROM domain with what its mail needs. Exits 1
    unless all are good."""
    found = _check(find_config(config).config(), nameserver)
    if as_json:
        print_json(found)
    elif not found:
        say("no identity has a mail_from")
    else:
        print_table(
            ("domain", "identities", "state"),
            [
                (
                    one.domain,
                    ", ".join(one.identities),
                    "; ".join((*(one.problems or ("good",)), *one.notes)),
                )
                for one in found
            ],
        )
    return OK if all(one.ok for one in found) else FAILED


@app.command(name="rotate-key")
def rotate_key(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Make a new key for return-paths; those that were made with one of the last three stay valid.

    `relay reload` puts it in force; nodes that share a store do so by themselves.
    """
    place = find_config(config)
    if place.config().store.is_shared:
        with open_desk(config) as desk:
            rotated = desk.call(RETURN_PATHS_ROTATE, Nothing())
        in_force = "every node puts it in force within a second"
    else:
        rotated = _rotated(place.data_dir())
        in_force = "`relay reload` puts it in force"
    if as_json:
        print_json(rotated)
    else:
        say(f"made key {rotated.number}; {in_force}")
    return OK


def _rotated(data_dir: Path) -> RotatedKeys:
    must_own(data_dir)
    try:
        keys = rotate(data_dir)
    except KeyFileError as error:
        raise CommandFailed(str(error)) from None
    return RotatedKeys(keys[0].number, tuple(key.number for key in keys[1:]))


def _check(config: Config, nameserver: str) -> list[CheckedDomain]:
    domains = domains_of(config.identities)
    if not domains:
        return []
    sources = sorted(
        {str(source.address) for pool in config.pools.values() for source in pool.sources}
    )
    txt, mx = ask_txt(nameserver), ask_mx(nameserver)
    return [check_domain(domain, names, sources, txt, mx) for domain, names in domains.items()]


def _meaning(found: Classification) -> Meaning:
    return Meaning(
        found.kind,
        found.outcome,
        found.bounce.type,
        found.bounce.subtype,
        found.hard_bounce,
        found.rule,
        found.attempts,
    )


def _what_follows(found: Classification) -> str:
    if found.kind == "delivered":
        return "it is delivered"
    if found.kind == "bounced":
        return "it bounces"
    if found.attempts:
        return f"it is tried again, {plural(found.attempts, 'attempt')} in all"
    return "it is tried again until it expires"

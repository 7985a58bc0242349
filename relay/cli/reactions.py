"""`relay reactions`: what providers' replies have led to, and the rules that say so."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, Parameter

from relay.admin.client import Client
from relay.admin.endpoints import REACTIONS_CLEAR, REACTIONS_LIST, Nothing
from relay.admin.reactions import ClearReactions
from relay.cli.failures import FAILED, OK, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import (
    moment,
    plural,
    print_facts,
    print_json,
    print_table,
    say,
    span,
    until,
    utc_ms,
)
from relay.cli.place import find_config
from relay.config.reactions import ReplyPhase
from relay.config.shipped import shipped_text
from relay.feedback.asked_delay import asked_delay
from relay.feedback.reactions import Rule, Rules
from relay.feedback.restraints import Restraint
from relay.mail.enhanced import split_reply
from relay.mail.replies import Reply

app = App(
    name="reactions",
    help="Show and lift what providers' replies have led to, and try the rules.",
    help_format="plaintext",
)

_SPANS = {
    "slow_down": "one step back",
    "fewer_connections": "one step back",
    "pause": "for",
    "other_source": "for",
    "retry_later": "in",
}
_LINE = re.compile(r"(?P<code>[45]\d\d)(?:[ -]|$)(?P<text>.*)")


@dataclass(frozen=True, slots=True)
class Tried:
    """Which rule a reply meets, for programs; empty where it meets none. `seconds` is how long what
    it does lasts, or when the mail is tried again."""

    rule: str = ""
    origin: str = ""
    action: str = ""
    seconds: float = 0.0
    after: str = ""
    tries_again: bool = False


@app.default
@app.command(name="list")
def list_reactions(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """List what holds sources back now: where to, what is done, since and until when, by which
    rule, and the reply that caused it."""
    found = Client(find_config(config).data_dir()).call(REACTIONS_LIST, Nothing())
    if as_json:
        print_json(found)
    elif not found:
        say("nothing is held back")
    else:
        print_reactions(found, utc_ms())
    return OK


@app.command
def clear(
    source: Annotated[str, Parameter(name="SOURCE", help="The source address.")],
    line: Annotated[str, Parameter(name="LINE", help="The provider or site, as list shows it.")],
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Lift what holds a source back for a provider. Its next complaint counts as the first."""
    client = Client(find_config(config).data_dir())
    changed = client.call(REACTIONS_CLEAR, ClearReactions(source, line))
    if as_json:
        print_json(changed)
    else:
        say(f"lifted: {plural(changed.count, 'reaction')}")
    return OK


@app.command(name="test")
def try_reply(
    reply: Annotated[str, Parameter(name="REPLY", help="As a provider gave it, with its code.")],
    /,
    *,
    provider: Annotated[str, Parameter(help="Who gave it: the name of a definition.")] = "",
    phase: Annotated[ReplyPhase, Parameter(help="What it answered.")] = "mail",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say which rule a reply meets, of the configuration's and then the shipped ones, and what it
    would do. Nothing is changed, and no relay need be running. Exits 1 where it meets none."""
    said = parse_reply(reply)
    rule = Rules.of(find_config(config).config()).find(said, phase, provider)
    if as_json:
        print_json(_tried(rule, said))
    elif rule is None:
        say("no rule is met: the reply means what its code says")
    else:
        found = _tried(rule, said)
        print_facts(
            [
                ("rule", f"{found.rule} ({found.origin})"),
                ("action", found.action),
                (_SPANS.get(rule.action, ""), span(found.seconds) if found.seconds else ""),
                ("after", found.after),
                ("tried again", "yes" if said.is_transient or found.tries_again else "no"),
            ]
        )
    return FAILED if rule is None else OK


@app.command
def show() -> int:
    """Print the rules that ship with relay, as they may be copied into the configuration."""
    sys.stdout.write(shipped_text("reactions.yaml"))
    return OK


def parse_reply(text: str) -> Reply:
    """A reply as it stands in a log or on the wire, in one line or several."""
    lines = [_LINE.match(line.strip()) for line in text.splitlines()]
    first = lines[0] if lines else None
    if first is None:
        raise CommandFailed("a reply begins with its code, as '421 4.7.0 Try again later'")
    code = first["code"]
    texts = [match["text"] if match else "" for match in lines]
    return split_reply(int(code), "\n".join(texts))


def _tried(rule: Rule | None, said: Reply) -> Tried:
    if rule is None:
        return Tried()
    seconds = rule.seconds
    if rule.action == "retry_later":
        seconds = asked_delay(said.text) or seconds
    after = str(rule.after) if rule.after else ""
    return Tried(rule.name, rule.origin, rule.action, seconds, after, rule.tries_again)


def print_reactions(found: Sequence[Restraint], now: int) -> None:
    """A table of what holds sources back."""
    print_table(
        ("source", "line", "action", "level", "since", "until", "rule", "reply"),
        [
            (
                one.source,
                one.line,
                one.action,
                _level(one),
                moment(one.since),
                until(one.until, now) if one.until else "it has recovered",
                one.rule,
                one.reply,
            )
            for one in found
        ],
    )


def _level(one: Restraint) -> str:
    if one.action == "fewer_connections":
        return f"{int(one.level)} of {plural(int(one.base), 'connection')}"
    if one.action == "slow_down":
        return f"{rate(one.level)} of {rate(one.base)}"
    return "nothing"


def rate(per_second: float) -> str:
    """Recipients per second, minute or hour: whichever gives a number that people read."""
    for seconds, unit in ((1, "s"), (60, "min")):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.3g}/{unit}"
    return f"{per_second * 3_600:.3g}/h"

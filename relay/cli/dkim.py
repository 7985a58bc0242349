"""`relay dkim`: make a signing key, show its DNS record, compare DNS with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import yaml
from cyclopts import App, Parameter

from relay.cli.failures import FAILED, OK, USAGE, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import print_json, print_table, say
from relay.cli.place import find_config
from relay.cli.txt_records import AskTxt, LookupFailed, ask_txt
from relay.config.identities import dkim_keys_for
from relay.config.model import Identity
from relay.mail.address import AddressError, parse_domain
from relay.signing.keys import KeyFileError, PrivateKey, read_private_key
from relay.signing.make import (
    KeyType,
    RecordError,
    compare_record,
    make_private_key,
    parse_record,
    record_name,
    record_text,
    write_private_key,
    zone_line,
)

app = App(
    name="dkim",
    help="Make DKIM keys and check their DNS records.",
    help_format="plaintext",
)

DomainArgument = Annotated[str, Parameter(name="DOMAIN", help="The signing domain.")]


@dataclass(frozen=True, slots=True)
class DomainKey:
    """A key as the configuration names it, and its private half."""

    domain: str
    selector: str
    private: PrivateKey

    @property
    def name(self) -> str:
        return record_name(self.domain, self.selector)


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """What DNS says about one key. `ok` where signatures by it verify."""

    name: str
    selector: str
    ok: bool
    problems: tuple[str, ...] = ()
    found: tuple[str, ...] = ()


@app.command
def new(
    domain: DomainArgument,
    /,
    *,
    selector: Annotated[str, Parameter(help="Default: relay and the month, as relay202611.")] = "",
    key_type: Annotated[KeyType, Parameter(name="--type", help="The kind of key.")] = "rsa",
    out: Annotated[
        Path | None,
        Parameter(help="The file. Default: dkim/DOMAIN.SELECTOR.pem beside the configuration."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Make a key, readable by its owner only, and print its DNS record and the lines to add.

    A file that exists is never replaced.
    """
    domain = _domain(domain)
    if not selector:
        suffix = "" if key_type == "rsa" else "-ed25519"
        selector = f"relay{datetime.now(UTC):%Y%m}{suffix}"
    if out is None:
        named = Path("dkim") / f"{domain}.{selector}.pem"  # relative to the configuration, as there
        path = find_config(config).path.parent / named
    else:
        named = path = out.absolute()
    key = make_private_key(key_type)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private_key(path, key)
    except OSError as error:
        raise CommandFailed(f"cannot make {path.parent}: {error.strerror}") from None
    except KeyFileError as error:
        raise CommandFailed(str(error)) from None
    lines = yaml_lines(domain, selector, named)
    if as_json:
        record = _record(DomainKey(domain, selector, key))
        print_json({**record, "key": str(path), "yaml": lines})
        return OK
    say(f"made {path}")
    say()
    say("Publish in DNS:")
    say(f"  {zone_line(domain, selector, key)}")
    say()
    say("Add to the configuration (beside the `dkim` entries that are there):")
    for line in lines.splitlines():
        say(f"  {line}")
    say()
    say("When DNS has it:")
    say(f"  relay dkim check {domain}")
    say("  relay reload")
    return OK


@app.command
def show(
    domain: DomainArgument,
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Print the DNS records of the keys that a domain signs with."""
    keys = domain_keys(_domain(domain), find_config(config).config().identities)
    if as_json:
        print_json([_record(key) for key in keys])
        return OK
    for key in keys:
        say(zone_line(key.domain, key.selector, key.private))
    return OK


@app.command
def check(
    domain: DomainArgument,
    /,
    *,
    nameserver: Annotated[
        str, Parameter(help="Ask this server (ADDRESS or ADDRESS:PORT), not the system's.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare the TXT records in DNS with the keys of a domain. Exits 1 unless all agree."""
    keys = domain_keys(_domain(domain), find_config(config).config().identities)
    ask = ask_txt(nameserver)
    found = [published(key, ask) for key in keys]
    if as_json:
        print_json(found)
    else:
        print_table(
            ("record", "state"),
            [(each.name, "good" if each.ok else "; ".join(each.problems)) for each in found],
        )
    return OK if all(each.ok for each in found) else FAILED


def published(key: DomainKey, ask: AskTxt) -> PublishedKey:
    """Ask DNS for a key's record and compare them."""
    try:
        records = ask(key.name)
    except LookupFailed as error:
        return PublishedKey(key.name, key.selector, False, (str(error),))
    problems = _problems(key, records)
    return PublishedKey(key.name, key.selector, not problems, problems, tuple(records))


def _problems(key: DomainKey, records: Sequence[str]) -> tuple[str, ...]:
    if not records:
        return (f"DNS has no TXT record {key.name}; `relay dkim show {key.domain}` prints it",)
    if len(records) > 1:
        return (f"DNS has {len(records)} TXT records there; verifiers may take either: leave one",)
    try:
        return compare_record(parse_record(records[0]), key.private)
    except RecordError as error:
        return (str(error),)


def domain_keys(domain: str, identities: Mapping[str, Identity]) -> list[DomainKey]:
    """The keys of a domain and of its addresses, or else of the parent that signs for it."""
    configured = {
        (domain, key.selector): key
        for name, identity in identities.items()
        if name.rpartition("@")[2] == domain
        for key in identity.dkim
    }
    if not configured:
        signing_domain, keys = dkim_keys_for(identities, domain, domain)
        configured = {(signing_domain, key.selector): key for key in keys}
    if not configured:
        raise CommandFailed(
            f"no identity in the configuration gives {domain} a DKIM key; "
            f"`relay dkim new {domain}` makes one"
        )
    try:
        return [
            DomainKey(signing_domain, selector, read_private_key(key.key))
            for (signing_domain, selector), key in configured.items()
        ]
    except KeyFileError as error:
        raise CommandFailed(str(error)) from None


def yaml_lines(domain: str, selector: str, path: Path) -> str:
    """The lines that name a key in the configuration."""
    key = {"selector": selector, "key": str(path)}
    return yaml.safe_dump({"identities": {domain: {"dkim": [key]}}}, sort_keys=False)


def _record(key: DomainKey) -> dict[str, object]:
    return {
        "name": key.name,
        "selector": key.selector,
        "type": "TXT",
        "value": record_text(key.private),
    }


def _domain(text: str) -> str:
    try:
        return parse_domain(text)
    except AddressError as error:
        raise CommandFailed(f"{text!r} is not a domain: {error}", USAGE) from None

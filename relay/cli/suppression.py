"""`relay suppression`: the addresses that are not sent to."""

import itertools
from typing import Annotated

from cyclopts import App, Parameter

from relay.admin.control import batches
from relay.admin.endpoints import (
    SUPPRESSION_ADD,
    SUPPRESSION_COUNT,
    SUPPRESSION_LOG,
    SUPPRESSION_REMOVE,
    SUPPRESSION_WHY,
    Nothing,
)
from relay.admin.suppression import (
    AddressesRequest,
    AddressRequest,
    ChangesRequest,
    SuppressRequest,
    WhySuppressed,
)
from relay.cli.desk import open_desk
from relay.cli.failures import FAILED, OK, USAGE, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import (
    moment,
    plural,
    print_facts,
    print_json,
    print_table,
    say,
    utc_ms,
    warn,
)
from relay.cli.suppression_bulk import export, import_list
from relay.cli.who import who
from relay.config.units import parse_duration
from relay.mail.address import AddressError, parse_mailbox
from relay.store.suppression_values import SuppressionChange
from relay.store.values import SuppressionEntry, SuppressionReason, SuppressionSource

app = App(
    name="suppression",
    help="Manage the list of addresses that are not sent to.",
    help_format="plaintext",
)
app.command(import_list, name="import")
app.command(export)

AddressArguments = Annotated[
    tuple[str, ...], Parameter(name="ADDRESS", help="Addresses.", negative="")
]
_LONGEST = 36_500 * 86_400_000  # an entry that is to stay for longer stays until it is removed
_OneAddress = Annotated[str, Parameter(name="ADDRESS", help="An address.")]


@app.command
def add(
    addresses: AddressArguments,
    /,
    *,
    reason: Annotated[SuppressionReason, Parameter(help="Why.")] = "manual",
    note: Annotated[str, Parameter(help="For later readers.")] = "",
    evidence: Annotated[str, Parameter(help="What shows it: a reply, a complaint.")] = "",
    expires_after: Annotated[str, Parameter(help="As 30d; default: never.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Add addresses. What was known of an address before is replaced."""
    now = utc_ms()
    expires_at = now + _milliseconds(expires_after) if expires_after else None
    entries = [
        SuppressionEntry(
            _address(text), reason, "operator", now, evidence, expires_at, by=who(), note=note
        )
        for text in _some(addresses)
    ]
    with open_desk(config) as desk:
        new = sum(
            desk.call(SUPPRESSION_ADD, SuppressRequest(part, who())).count
            for part in batches(entries)
        )
    if as_json:
        print_json({"new": new, "replaced": len(entries) - new})
    else:
        say(f"{plural(new, 'address')} added, {len(entries) - new} replaced")
    return OK


@app.command
def remove(
    addresses: AddressArguments,
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Take addresses off the list. Exits 1 when one of them was not on it."""
    wanted = tuple(_address(text) for text in _some(addresses))
    with open_desk(config) as desk:
        count = sum(
            desk.call(SUPPRESSION_REMOVE, AddressesRequest(part, who())).count
            for part in batches(wanted)
        )
    if as_json:
        print_json({"removed": count, "unknown": len(wanted) - count})
    else:
        say(f"{count} removed, {len(wanted) - count} not on the list")
    return OK if count == len(wanted) else FAILED


@app.command
def why(
    address: _OneAddress, /, *, config: ConfigOption = None, as_json: JsonOption = False
) -> int:
    """Tell whether an address is suppressed, why, until when, and for which configuration sets.

    Exits 1 when it is not.
    """
    with open_desk(config) as desk:
        found = desk.call(SUPPRESSION_WHY, AddressRequest(_address(address)))
    if as_json:
        print_json(found)
    else:
        _show(found)
    return OK if found.in_force else FAILED


@app.command(name="list")
def list_suppressions(
    *,
    reason: Annotated[
        SuppressionReason | None, Parameter(help="Only entries of this kind.")
    ] = None,
    source: Annotated[
        SuppressionSource | None, Parameter(help="Only entries that came from there.")
    ] = None,
    domain: Annotated[str, Parameter(help="Only addresses of this domain.")] = "",
    expired: Annotated[bool, Parameter(help="Those that have expired, too.", negative="")] = False,
    limit: Annotated[int, Parameter(help="At most so many entries.")] = 1_000,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """List entries in order of address. `export` prints all of them."""
    if limit < 1:
        raise CommandFailed(f"--limit {limit}: allowed is 1 or more", USAGE)
    now = utc_ms()
    with open_desk(config) as desk, desk.suppressions() as entries:
        wanted = (
            e
            for e in entries
            if reason in (None, e.reason)
            and source in (None, e.source)
            and (not domain or e.address.lower().endswith(f"@{domain.lower()}"))
            and (expired or e.is_in_force(now))
        )
        found = list(itertools.islice(wanted, limit + 1))
    more = len(found) > limit
    found = found[:limit]
    if as_json:
        print_json(found)
    elif not found:
        say("no address is suppressed")
    else:
        print_table(
            ("address", "reason", "since", "until", "source", "by", "evidence"),
            [
                (
                    e.address,
                    e.reason,
                    moment(e.created_at),
                    moment(e.expires_at) if e.expires_at else "",
                    e.source,
                    e.by,
                    e.note or e.evidence,
                )
                for e in found
            ],
        )
    if more:
        warn(f"only the first {limit} are shown; --limit shows more, `export` all")
    return OK


@app.command
def count(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Count entries by reason and source. Those that have expired are there for their history."""
    with open_desk(config) as desk:
        found = desk.call(SUPPRESSION_COUNT, Nothing())
    if as_json:
        print_json(found)
    elif not found:
        say("no address is suppressed")
    else:
        print_table(
            ("reason", "source", "in force", "expired"),
            [(e.reason, e.source, f"{e.number - e.expired:,}", f"{e.expired:,}") for e in found],
        )
    return OK


@app.command
def log(
    address: Annotated[str, Parameter(name="ADDRESS", help="Of this address alone.")] = "",
    /,
    *,
    limit: Annotated[int, Parameter(help="At most so many changes.")] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show who changed the list, when and why, newest first. An import is one line."""
    wanted = _address(address) if address else ""
    with open_desk(config) as desk:
        found = desk.call(SUPPRESSION_LOG, ChangesRequest(wanted, limit))
    if as_json:
        print_json(found)
    elif not found:
        say("no change is known")
    else:
        _print_changes(found)
    return OK


def _show(found: WhySuppressed) -> None:
    entry = found.entry
    if entry is None:
        say(f"{found.address} is not on the suppression list")
    else:
        holds = "is suppressed" if found.in_force else "is not suppressed any more"
        say(f"{entry.address} {holds}")
        print_facts(
            [
                ("reason", entry.reason),
                ("from", entry.source),
                ("by", entry.by or "the relay"),
                ("since", moment(entry.created_at)),
                ("until", moment(entry.expires_at) if entry.expires_at else "it is removed"),
                ("evidence", entry.evidence),
                ("said by", entry.remote_host),
                ("seen", moment(entry.seen_at) if entry.seen_at else ""),
                ("message", entry.message_id),
                ("hard bounces", entry.bounces or ""),
                ("note", entry.note),
            ]
        )
    if found.sets:
        say()
        print_table(
            ("configuration set", "is sent to", "why"),
            [(s.configuration_set, "no" if s.holds else "yes", s.why) for s in found.sets],
        )
    if found.changes:
        say()
        _print_changes(found.changes)


def _print_changes(changes: "tuple[SuppressionChange, ...] | list[SuppressionChange]") -> None:
    print_table(
        ("time", "change", "address", "reason", "by", "detail"),
        [
            (moment(c.at), c.what, c.address, c.reason, c.by or "the relay", _detail(c))
            for c in changes
        ],
    )


def _detail(change: SuppressionChange) -> str:
    if change.what not in ("imported", "deleted"):
        return change.detail
    word = "new" if change.what == "imported" else "taken off"
    end = "" if change.ended_at else "; under way, or cut off"
    return f"{change.entries:,} addresses, {change.changed:,} {word}: {change.detail}{end}"


def _some(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not addresses:
        raise CommandFailed("give at least one address", USAGE)
    return addresses


def _address(text: str) -> str:
    try:
        return parse_mailbox(text)
    except AddressError as error:
        raise CommandFailed(f"{text!r} is not an address: {error}", USAGE) from None


def _milliseconds(text: str) -> int:
    try:
        milliseconds = round(parse_duration(text) * 1000)
        if not 0 < milliseconds <= _LONGEST:
            raise ValueError("allowed is more than nothing and at most 36500d (100 years)")
        return milliseconds
    except ValueError as error:
        raise CommandFailed(f"--expires-after {text!r}: {error}", USAGE) from None

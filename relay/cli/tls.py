"""`relay tls`: what TLS with other relays must be, how it went, and what is reported of it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import App, Parameter

from relay.admin.client import Client
from relay.admin.endpoints import TLS_COUNTS, TLS_POLICIES, TLS_REPORT, TLS_SHOW, Nothing
from relay.admin.tls_values import TlsCountsRequest, TlsOutlook, TlsReportRequest, TlsRequest
from relay.cli.desk import open_desk
from relay.cli.failures import OK, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import moment, print_facts, print_json, print_table, say, span, utc_ms
from relay.cli.place import find_config
from relay.store.tls_values import DAY_MS

app = App(
    name="tls",
    help="Show what TLS with other relays must be, how it went, and what is reported of it.",
    help_format="plaintext",
)

DomainName = Annotated[str, Parameter(name="DOMAIN", help="A recipient domain.")]


@app.command
def show(
    domain: DomainName,
    /,
    *,
    configuration_set: Annotated[
        str, Parameter(help="For mail of this configuration set; default: the default one.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Explain what TLS with the mail hosts of a domain must be: its MTA-STS policy, DANE, what is
    demanded of each host, where reports go, and which hosts are known to be broken."""
    request = TlsRequest(domain, configuration_set)
    found = Client(find_config(config).data_dir()).call(TLS_SHOW, request)
    if as_json:
        print_json(found)
    else:
        _show(found)
    return OK


def _show(found: TlsOutlook) -> None:
    print_facts(
        [
            ("domain", found.domain),
            ("configuration set", found.configuration_set),
            ("tls", found.word),
            ("the domain demands", found.policy or "nothing"),
            ("until", f"{moment(found.policy_until)}, then anew" if found.policy_until else ""),
            ("problem", found.problem),
            ("reports go to", list(found.reports_to) or "nobody"),
        ]
    )
    if found.hosts:
        say()
        print_table(
            ("host", "address", "demanded", "TLSA"),
            [(h.name, h.address, h.demand, "; ".join(h.tlsa)) for h in found.hosts],
        )
    if found.broken:
        say()
        print_table(
            ("broken TLS of", "known to", "for", "reason"),
            [(b.host, b.worker, span(b.seconds), b.reason) for b in found.broken],
        )


@app.command
def policies(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """List the MTA-STS policies that are known."""
    with open_desk(config) as desk:
        found = desk.call(TLS_POLICIES, Nothing())
    if as_json:
        print_json(found)
        return OK
    if not found:
        say("no policy is known")
        return OK
    print_table(
        ("domain", "mode", "mail hosts", "fetched", "holds until"),
        [
            (p.domain, p.mode, " ".join(p.mx), moment(p.fetched_at), moment(p.ends_at))
            for p in found
        ],
    )
    return OK


@app.command
def counts(
    domain: Annotated[str, Parameter(name="DOMAIN", help="Only this domain.")] = "",
    /,
    *,
    limit: Annotated[int, Parameter(help="At most so many lines.")] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """List how many sessions with mail hosts went well and how many did not, by day (UTC) and
    domain, and what became of the report."""
    with open_desk(config) as desk:
        found = desk.call(TLS_COUNTS, TlsCountsRequest(domain, limit))
    if as_json:
        print_json(found)
        return OK
    if not found:
        say("nothing was counted (sessions of the last minute are not in it yet)")
        return OK
    print_table(
        ("day", "domain", "good", "failed", "report"),
        [(_date(d.day), d.domain, d.successes, d.failures, d.report) for d in found],
    )
    return OK


@app.command
def report(
    domain: DomainName,
    /,
    *,
    day: Annotated[str, Parameter(help="As 2026-11-25 (UTC); default: today so far.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Print the report on TLS to a domain (RFC 8460), as it would be sent."""
    with open_desk(config) as desk:
        found = desk.call(TLS_REPORT, TlsReportRequest(domain, _day(day)))
    if as_json:
        print_json(found)
    else:
        say(found.text)
    return OK


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _date(day: int) -> str:
    return f"{_EPOCH + timedelta(days=day):%Y-%m-%d}"


def _day(text: str) -> int:
    """A date as days since the epoch."""
    if not text:
        return utc_ms() // DAY_MS
    try:
        return (datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) - _EPOCH).days
    except ValueError:
        raise CommandFailed(f"--day {text!r} is no date such as 2026-11-25") from None

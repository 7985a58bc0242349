"""`relay status` and `relay reload`: what only a running relay can answer."""

from collections.abc import Sequence

from relay.admin.client import Client
from relay.admin.control import LimitStatus, Status, WorkerStatus, summary
from relay.admin.endpoints import RELOAD, STATUS, Nothing
from relay.cli.failures import FAILED, OK
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import (
    moment,
    octets,
    print_facts,
    print_json,
    print_table,
    say,
    shown,
    span,
    until,
    utc_ms,
    warn,
)
from relay.cli.place import find_config
from relay.cli.suspend import print_suspensions


def status(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Show how the running relay does: health, listeners, queue, sources, limits.

    Exits 1 when it is not healthy or not ready, 3 when it does not run.
    """
    found = Client(find_config(config).data_dir()).call(STATUS, Nothing())
    if as_json:
        print_json(found)
    else:
        _show(found, utc_ms())
    return OK if found.health.ok and found.readiness.ok else FAILED


def reload(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Load the configuration anew in the running relay: whole, or not at all.

    Exits 1 when the new configuration was refused; the old one stays in force then. Certificates,
    keys and credentials are read again too.
    """
    answer = Client(find_config(config).data_dir()).call(RELOAD, Nothing())
    if as_json:
        print_json(answer)
        return OK if answer.accepted else FAILED
    for problem in answer.problems:
        warn(shown(problem))
    if not answer.accepted:
        warn(f"relay: refused; configuration {answer.epoch} stays in force")
        return FAILED
    say(f"reloaded: configuration {answer.epoch} is in force")
    return OK


def _show(found: Status, now: int) -> None:
    print_facts(
        [
            ("relay", f"{found.version} on {found.hostname}, process {found.pid}"),
            ("health", summary(found.health)),
            ("ready", summary(found.readiness)),
            ("running for", span((now - found.started_at) / 1000)),
            ("configuration", f"{found.config_path}, number {found.config_epoch}"),
            ("loaded", moment(found.config_loaded_at)),
            ("last reload", found.last_reload_error),
            ("certificate", _expiry(found.certificate_expires_at, now)),
            ("metrics", found.metrics_address),
            ("suppressed", found.suppressions),
            ("store", _trouble(found, now)),
            ("free space", octets(found.free_bytes) if found.free_bytes else ""),
            ("workers", _workers(found.workers)),
            ("in memory", f"{found.working_set} deliveries"),
            ("outgoing", f"{found.outbound_connections} connections"),
        ]
    )
    if found.listeners:
        say()
        print_table(
            ("listener", "address", "tls", "sessions"),
            [(each.name, each.address, each.tls, each.connections) for each in found.listeners],
        )
    if found.queue:
        say()
        print_table(
            ("configuration set", "queued", "held", "suspended", "quarantined", "oldest"),
            [
                (
                    each.configuration_set,
                    each.queued,
                    each.held,
                    each.suspended,
                    each.quarantined,
                    span((now - each.oldest_accepted_at) / 1000) if each.oldest_accepted_at else "",
                )
                for each in found.queue
            ],
        )
    if found.suspensions:
        say()
        print_suspensions(found.suspensions, now)
    if found.sources:
        say()
        print_table(
            ("pool", "source", "weight", "state"),
            [
                (
                    each.pool,
                    each.address,
                    each.weight,
                    "available" if each.available else each.reason,
                )
                for each in found.sources
            ],
        )
    if found.limits:
        say()
        print_limits(found.limits, now)


def print_limits(limits: tuple[LimitStatus, ...], now: int) -> None:
    """A table of limits and their levels."""
    print_table(
        ("limit", "kind", "allows", "used", "next"),
        [
            (each.key, each.kind, each.limit, _used(each), until(each.free_at, now))
            for each in limits
        ],
    )


def _used(limit: LimitStatus) -> str:
    """`12`, or `12 of 40 here` where other nodes may use the rest."""
    return str(limit.used) if limit.share is None else f"{limit.used} of {limit.share} here"


def _expiry(expires_at: int, now: int) -> str:
    if not expires_at:
        return ""
    if expires_at <= now:
        return f"expired on {moment(expires_at)}"
    return f"expires in {span((expires_at - now) / 1000)} ({moment(expires_at)})"


def _trouble(found: Status, now: int) -> str:
    """Why the store cannot be reached; nothing while it can."""
    if not found.store_error:
        return ""
    for_so_long = span((now - found.store_away_since) / 1000)
    since = f"not reached since {moment(found.store_away_since)}, for {for_so_long}"
    return f"{since}: {found.store_error} What is stored is shown as it was seen last."


def _workers(workers: Sequence[WorkerStatus]) -> str:
    """Each with its process and what it does, as `worker-1 (process 71, 3 connections)`."""
    shown = (f"{w.name} (process {w.pid}, {w.connections} connections)" for w in workers)
    return ", ".join(shown) or "none runs"

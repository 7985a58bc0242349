"""Every metric of the relay, by name, with its labels and meaning.

Stages are given a `Metrics` and tell it what happened; it calls nothing. Labels come from bounded
sets only (names in the configuration, fixed outcome words), never an address or a free domain.
`docs/metrics.md` is written from this module; a test keeps them alike.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)

from relay.observe.sending_events import MEANING, SendingEvents

_LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400)
_COMMIT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500)

_M = TypeVar("_M", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Described:
    """One metric as `docs/metrics.md` lists it, by the name that is scraped."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """The registry and its metrics. Use `child(metric, *labels)` on paths that run per message."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        # A second series for each counter, with its birth, that nothing of ours reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
        self.registry = registry or CollectorRegistry()
        self.described: list[Described] = []
        self.additive: frozenset[str] = frozenset()
        self._accepting()
        self._delivering()
        self._limiting()
        self._warming()
        self._keeping()
        self._telling()
        self._children: dict[tuple[Hashable, ...], object] = {}

    def child(self, metric: _M, *labels: str) -> _M:
        """`metric.labels(*labels)`, remembered: three times as fast as asking the library."""
        key = (metric, *labels)
        known = self._children.get(key)
        if known is None:
            known = self._children[key] = metric.labels(*labels)
        return known  # type: ignore[return-value]

    def leave_out(self, metric: Gauge) -> None:
        """Have a gauge not shown at all that means nothing here."""
        self.registry.unregister(metric)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self.described.append(Described(f"relay_{name}", "counter", labels, text))
        return Counter(f"relay_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """Of the whole relay: the supervisor alone sets it."""
        self.described.append(Described(f"relay_{name}", "gauge", labels, text))
        return Gauge(f"relay_{name}", text, labels, registry=self.registry)

    def _part(self, name: str, text: str, *labels: str) -> Gauge:
        """A gauge that each process sets for itself; the relay's is their sum."""
        self.additive |= {f"relay_{name}"}
        return self._gauge(name, text, *labels)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...]
    ) -> Histogram:
        self.described.append(Described(f"relay_{name}", "histogram", labels, text))
        return Histogram(f"relay_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _accepting(self) -> None:
        self.connections = self._gauge("connections", "Client sessions open now.", "listener")
        self.connections_opened = self._counter(
            "connections_opened_total", "Client sessions opened.", "listener"
        )
        self.connections_refused = self._counter(
            "connections_refused_total", "Connections refused or cut.", "listener", "reason"
        )
        self.tls_sessions = self._counter(
            "tls_sessions_total", "TLS handshakes done.", "direction", "version"
        )
        self.logins = self._counter("logins_total", "AUTH by result.", "listener", "result")
        self.commands_refused = self._counter(
            "commands_refused_total", "Commands answered 4yz or 5yz.", "listener", "reason"
        )
        self.messages_accepted = self._counter(
            "messages_accepted_total",
            "Messages stored and acknowledged.",
            "listener",
            "credential",
            "configuration_set",
        )
        self.recipients_accepted = self._counter(
            "recipients_accepted_total",
            "Recipients of acknowledged messages.",
            "credential",
            "configuration_set",
        )
        self.bytes_accepted = self._counter(
            "accepted_bytes_total", "Octets of acknowledged messages.", "listener"
        )
        self.messages_refused = self._counter(
            "messages_refused_total", "Messages refused at the end of data.", "credential", "reason"
        )
        self.messages_rejected = self._counter(
            "messages_rejected_total",
            "Messages acknowledged and not sent, for what they hold.",
            "credential",
            "configuration_set",
        )
        self.returns = self._counter(
            "returns_total", "What came back, and what became of it.", "kind", "outcome"
        )
        self.returns_forgotten = self._counter(
            "returns_forgotten_total", "Reports about messages that the message log has not."
        )
        self.bytes_in_flight = self._part(
            "in_flight_bytes", "Message octets held in memory by sessions."
        )

    def _delivering(self) -> None:
        stream = ("configuration_set", "pool", "source")
        self.recipients_delivered = self._counter(
            "recipients_delivered_total", "Recipients taken by the destination.", *stream
        )
        self.recipients_deferred = self._counter(
            "recipients_deferred_total", "Recipients to be tried again.", *stream, "outcome"
        )
        self.recipients_bounced = self._counter(
            "recipients_bounced_total", "Recipients given up.", *stream, "outcome"
        )
        self.bounces = self._counter(
            "bounces_total",
            "Recipients given up after an attempt, in SES's words.",
            "configuration_set",
            "bounce_type",
            "bounce_subtype",
        )
        self.recipients_suppressed = self._counter(
            "recipients_suppressed_total",
            "Recipients accepted and not sent to.",
            "configuration_set",
            "reason",
        )
        self.suppressions = self._gauge(
            "suppressions", "Entries of the suppression list, those that have expired included."
        )
        self.suspended = self._counter(
            "deliveries_suspended_total", "Deliveries set aside for a suspension.", "kind"
        )
        self.suspensions = self._gauge(
            "suspensions", "Suspensions in force, ordered by operators.", "kind"
        )
        self.reports = self._counter(
            "reports_total", "Delivery status notifications queued or withheld.", "result"
        )
        self.replies_unclassified = self._counter(
            "replies_unclassified_total", "Refusals of peers that no rule knew.", "provider"
        )
        self.attempts = self._counter(
            "attempts_total", "Delivery attempts.", "pool", "source", "provider", "outcome"
        )
        self.attempt_seconds = self._histogram(
            "attempt_seconds", "Duration of a delivery attempt.", "pool", buckets=_LATENCY
        )
        self.delivery_seconds = self._histogram(
            "delivery_seconds",
            "From acceptance to delivery.",
            "configuration_set",
            buckets=_LATENCY,
        )
        self.outbound_connections = self._part(
            "outbound_connections", "Outgoing connections open now.", "source", "provider"
        )
        self.outbound_connections_opened = self._counter(
            "outbound_connections_opened_total",
            "Outgoing connections.",
            "source",
            "provider",
            "result",
        )
        self.source_available = self._gauge(
            "source_available", "1 when this host has the source address.", "pool", "source"
        )
        self.reactions = self._counter(
            "reactions_total",
            "Replies of providers that met a rule, by what it does.",
            "source",
            "provider",
            "action",
        )
        self.source_paused = self._gauge(
            "source_paused", "Lines to which a source sends nothing now.", "source", "provider"
        )
        self.path_slowed = self._gauge(
            "path_slowed",
            "Lines to which a source is slowed down, or has fewer connections, for now.",
            "source",
            "provider",
        )
        self.tls_policy_sessions = self._counter(
            "tls_policy_sessions_total",
            "TLS sessions with mail hosts, by the policy of the domain (as in RFC 8460).",
            "policy",
            "result",
        )
        self.tls_tallies_lost = self._counter(
            "tls_tallies_lost_total",
            "TLS sessions that reports leave out: too many kinds a day.",
        )
        self.tls_reports = self._counter(
            "tls_reports_total", "Reports on TLS to other domains.", "result"
        )
        self.claims_lost = self._counter(
            "claims_lost_total", "Outcomes dropped because another owner took the claim over."
        )
        self.possible_duplicates = self._counter(
            "possible_duplicates_total",
            "Deliveries taken over whose content a dead owner was sending: they are sent again.",
        )

    def _limiting(self) -> None:
        self.limit_waits = self._counter(
            "limit_waits_total", "Times a limit delayed or refused mail.", "level", "name", "kind"
        )
        self.limit_wait_seconds = self._counter(
            "limit_wait_seconds_total", "Delay imposed by limits.", "level", "name", "kind"
        )
        self.quota_used = self._gauge(
            "quota_used", "Recipients counted in the last 24 hours.", "level", "name"
        )
        self.quota_limit = self._gauge("quota_limit", "The 24-hour quota.", "level", "name")

    def _warming(self) -> None:
        self.warmup_day = self._gauge(
            "warmup_day", "Day of the warm-up of a source address; 0 when it is warm.", "source"
        )
        self.warmup_allowance = self._gauge(
            "warmup_allowance",
            "Recipients that a warm-up allows in 24 hours, in all or towards one provider.",
            "source",
            "provider",
        )
        self.warmup_used = self._gauge(
            "warmup_used",
            "Recipients of that allowance in the last 24 hours.",
            "source",
            "provider",
        )

    def _telling(self) -> None:
        self.event_backlog = self._part(
            "event_backlog", "Events that wait for a destination.", "destination"
        )
        self.event_oldest_seconds = self._part(
            "event_oldest_age_seconds", "Age of the oldest of these.", "destination"
        )
        self.event_destination_up = self._part(
            "event_destination_up", "1 while a destination takes events.", "destination"
        )
        self.event_deliveries = self._counter(
            "event_deliveries_total", "Tellings of an event.", "destination", "outcome"
        )
        self.events_dropped = self._counter(
            "events_dropped_total", "Events that a full backlog lost.", "destination"
        )
        self.event_dead_letters = self._part(
            "event_dead_letters", "Events kept that a destination would not take.", "destination"
        )
        self.sending_events = SendingEvents()
        self.registry.register(self.sending_events)
        self.described.append(
            Described("relay_sending_events_total", "counter", ("destination", "type"), MEANING)
        )

    def _keeping(self) -> None:
        self.queue_deliveries = self._gauge(
            "queue_deliveries", "Deliveries in the queue.", "configuration_set", "state"
        )
        self.queue_oldest_seconds = self._gauge(
            "queue_oldest_age_seconds", "Age of the oldest queued message.", "configuration_set"
        )
        self.queue_working_set = self._part(
            "queue_working_set", "Deliveries held in memory by the scheduler."
        )
        self.commit_seconds = self._histogram(
            "store_commit_seconds", "Duration of a group commit.", buckets=_COMMIT
        )
        self.commit_operations = self._histogram(
            "store_commit_operations", "Operations that shared a commit.", buckets=_BATCH
        )
        self.store_errors = self._counter("store_errors_total", "Store failures.", "kind")
        self.store_free_bytes = self._gauge(
            "store_free_bytes", "Free space for the store; not of PostgreSQL, which does not tell."
        )
        self.certificate_expiry = self._gauge(
            "certificate_expiry_timestamp_seconds", "Expiry of a certificate.", "certificate"
        )
        self.workers = self._gauge("workers", "Worker processes that carry mail now.")
        self.fleet_nodes = self._gauge(
            "fleet_nodes", "Relays that share the store, those that died lately too.", "state"
        )
        self.fleet_member = self._gauge(
            "fleet_member", "1 while this relay is a living node of its fleet."
        )
        self.fleet_clock_offset = self._gauge(
            "fleet_clock_offset_seconds",
            "By how much the clock of this host is ahead of the store's, by which the queue goes.",
        )
        self.fleet_configuration_differs = self._gauge(
            "fleet_configuration_differs", "1 while another node has another configuration."
        )
        self.events = self._counter(
            "events_total",
            "What happened to messages, as it was filed in the message log.",
            "type",
            "configuration_set",
        )
        self.outbox_age = self._part(
            "outbox_age_seconds",
            "How long ago the oldest thing happened that is not filed in the message log.",
        )
        self.log_errors = self._counter(
            "message_log_errors_total", "Times that the message log could not be written."
        )
        self.bounce_rate = self._part(
            "reputation_bounce_rate",
            "Share of hard bounces in the volume that is judged: of the account, a configuration"
            " set, credential, identity, pool, source or provider.",
            "kind",
            "name",
        )
        self.complaint_rate = self._part(
            "reputation_complaint_rate", "Share of complaints, likewise.", "kind", "name"
        )
        self.reputation_volume = self._part(
            "reputation_volume", "Recipients in the volume that is judged.", "kind", "name"
        )
        self.sending_paused = self._gauge(
            "sending_paused", "1 while new mail of it is refused.", "kind", "name"
        )
        self.scribes = self._gauge(
            "scribes",
            "1 while the process runs that files what happened and tells of it. In a fleet it runs"
            " on one node.",
        )
        self.worker_deaths = self._counter(
            "worker_deaths_total", "Worker processes that died and were replaced."
        )
        self.config_epoch = self._gauge("config_epoch", "Number of the configuration in force.")
        self.config_reloads = self._counter("config_reloads_total", "Reloads.", "result")
        text = "Version of relay and Python."
        self.described.append(Described("relay_build_info", "info", ("version", "python"), text))
        self.build = Info("relay_build", text, registry=self.registry)

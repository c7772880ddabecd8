"""What alertd counts about itself, for ``GET /metrics``.

Owns every metric's name, labels, unit and help text (Prometheus naming: base units, the unit at the
end, ``_total`` for counters). The code that does the work does the counting. Label values come from
small fixed sets or from the configuration, never from what a client sends.
"""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from alertd import __version__
from alertd.limits import Limit

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""The media type of ``Metrics.render``."""

_REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_TURN_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1)
_ATTEMPT_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_EVENT_BUCKETS = (1, 10, 100, 1000, 5000, 10_000, 50_000, 100_000, 200_000)


class Metrics:
    """The metrics of one daemon, in a registry of their own."""

    def __init__(self) -> None:
        # A creation time for each series would double the output and tell nothing more than
        # start_time_seconds. The library has this as a switch for the process only.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # only this lacks types
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._of_writer: dict[str, tuple[Histogram, Histogram]] = {}
        self._ingestion()
        self._http()
        self._lines()
        self._storage()
        self._alerting()
        self._state()

    def of_writer(self, work: str) -> tuple[Histogram, Histogram]:
        """Return how long ``work`` waited for the store's writer, and how long it took."""
        found = self._of_writer.get(work)
        if found is None:
            found = self.writer_wait_seconds.labels(work), self.writer_busy_seconds.labels(work)
            self._of_writer[work] = found
        return found

    def render(self) -> bytes:
        """Return everything in the Prometheus text format. Cost: some 0.1 ms a hundred series."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"alertd_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"alertd_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(f"alertd_{name}", text, labels, registry=self.registry, buckets=buckets)

    def _ingestion(self) -> None:
        self.events_accepted = self._counter("events_accepted", "Events committed to the log.")
        self.events_duplicate = self._counter(
            "events_duplicate", "Events whose id was seen before; not stored again."
        )
        self.events_rejected = self._counter(
            "events_rejected", "Events refused and reported to their sender, by reason.", "reason"
        )
        self.events_quarantined = self._counter(
            "events_quarantined", "Refused events that were kept for inspection."
        )
        self.quarantine_dropped = self._counter(
            "quarantine_dropped",
            "Refused events that were not kept: too many a second, or the store could not write.",
        )
        self.quarantine_events = self._gauge(
            "quarantine_events", "Refused events that can be looked at now (bound: 10,000)."
        )
        self.event_ids_forgotten = self._counter(
            "event_ids_forgotten", "Event ids forgotten early (bound: engine.max_remembered_ids)."
        )
        self.requests_repeated = self._counter(
            "requests_repeated", "Requests answered as before because of their Idempotency-Key."
        )
        self.request_keys_forgotten = self._counter(
            "request_keys_forgotten",
            "Idempotency-Keys forgotten early (bound: engine.max_remembered_requests).",
        )
        self.queue_events = self._gauge(
            "queue_events", "Events that wait for their commit (bound: engine.max_queue_events)."
        )

    def _http(self) -> None:
        self.requests = self._counter(
            "http_requests", "Requests answered, by method, route and code.",
            "method", "route", "code",
        )  # fmt: skip
        self.request_seconds = self._histogram(
            "http_request_duration_seconds",
            "Time from the request's head to its reply, by route.",
            "route",
            buckets=_REQUEST_BUCKETS_S,
        )
        self.connections = self._gauge(
            "http_connections", "Open connections (bound: server.max_connections)."
        )
        self.requests_in_flight = self._gauge(
            "http_requests_in_flight",
            "Requests that are worked on (bound: server.max_requests_in_flight).",
        )
        self.connections_refused = self._counter(
            "http_connections_refused", "Connections told 503 because too many were open."
        )
        self.limits_reached = self._counter(
            "limits_reached",
            "How often somebody went beyond a limit and was refused; docs/limits.md lists them.",
            "limit",
        )
        for limit in Limit:  # so that each is to be seen before it is reached
            self.limits_reached.labels(limit.value)
        self.requests_denied = self._counter(
            "http_requests_denied",
            "Requests not let in: host, origin, no_token, bad_token, scope, allowance, route.",
            "reason",
        )
        self.token_events = self._counter(
            "token_events", "Events sent, refused ones too, by the name of the token.", "token"
        )
        self.tls_failures = self._counter(
            "http_tls_failures",
            "Connections, of HTTP or of lines, that got no further than the TLS handshake.",
        )
        self.connection_errors = self._counter(
            "http_connection_errors",
            "Connections that ended by an exception or because the client stopped reading.",
        )

    def _lines(self) -> None:
        self.line_connections = self._gauge(
            "lines_connections",
            "Open connections that send lines (bound: lines.max_connections, TCP and UNIX each).",
        )
        self.lines_acknowledged = self._counter(
            "lines_acknowledged", "Lines that were acknowledged: durable, or refused by name."
        )
        self.line_seconds = self._histogram(
            "lines_acknowledgement_seconds",
            "Time from the arrival of lines to their acknowledgement.",
            buckets=_REQUEST_BUCKETS_S,
        )
        self.line_pauses = self._counter(
            "lines_pauses",
            "Times at which a connection was not read for a while: queue, store, allowance.",
            "reason",
        )
        self.line_connections_closed = self._counter(
            "lines_closed", "Connections that sent lines and have ended, by the reason.", "reason"
        )

    def _storage(self) -> None:
        self.commits = self._counter("commits", "Commits of events.")
        self.commit_seconds = self._histogram(
            "commit_duration_seconds",
            "Time of one commit, its fsync included.",
            buckets=_COMMIT_BUCKETS_S,
        )
        self.writer_busy_seconds = self._histogram(
            "writer_busy_seconds",
            "For how long one transaction, or a checkpoint, held the store's writer, by work.",
            "work",
            buckets=_TURN_BUCKETS_S,
        )
        self.writer_wait_seconds = self._histogram(
            "writer_wait_seconds",
            "For how long a transaction waited for the store's writer, by work.",
            "work",
            buckets=_TURN_BUCKETS_S,
        )
        self.garbage_collection_seconds = self._histogram(
            "garbage_collection_seconds",
            "For how long everything stood still while Python looked for cyclic garbage.",
            buckets=_TURN_BUCKETS_S,
        )
        self.commit_events = self._histogram(
            "commit_events", "Events in one commit.", buckets=_EVENT_BUCKETS
        )
        self.incidents_forgotten = self._counter(
            "incidents_forgotten", "Ended incidents older than store.history_retention_days, gone."
        )
        self.store_bytes = self._gauge("store_size_bytes", "Size of the database.")
        self.store_free_bytes = self._gauge(
            "store_free_bytes", "How much of the database is free for what comes."
        )
        self.store_cache_bytes = self._gauge(
            "store_cache_bytes", "Memory that holds what was read lately (bound: 64 MiB)."
        )
        self.sqlite_memory_bytes = self._gauge(
            "sqlite_memory_bytes",
            "Memory that SQLite holds, mostly pages of the database (bound: some 32 MiB).",
        )
        self.events_rolled_up = self._counter(
            "events_rolled_up", "Old events of which only rollups are left."
        )
        self.retention_stopped = self._gauge(
            "retention_stopped", "1 if nothing is rolled up any more because a segment is damaged."
        )
        self.wal_bytes = self._gauge("store_wal_bytes", "Size of the write-ahead log.")
        self.events_folded = self._counter(
            "events_folded", "Events moved from the log to segments."
        )
        self.unfolded_events = self._gauge(
            "unfolded_events",
            "Events that wait to be folded (bound: some store.fold_after_events).",
        )
        self.folding_stopped = self._gauge(
            "folding_stopped", "1 if nothing is folded any more because the log is damaged."
        )
        self.snapshot_bytes = self._gauge("snapshot_bytes", "Size of the newest snapshot.")
        self.applied_position = self._gauge(
            "applied_position", "Position in the log up to which effects are recorded."
        )

    def _alerting(self) -> None:
        self.transitions = self._counter(
            "transitions", "Changes of state of a rule's group, by kind.", "kind"
        )
        self.notifications = self._counter(
            "notifications", "Attempts to deliver that ended, by channel and status.",
            "channel", "status",
        )  # fmt: skip
        self.notification_attempt_seconds = self._histogram(
            "notification_attempt_duration_seconds",
            "Time of one attempt to deliver, by channel.",
            "channel",
            buckets=_ATTEMPT_BUCKETS_S,
        )
        self.template_failures = self._counter(
            "template_failures",
            "Messages told in the default words because a template failed, by channel.",
            "channel",
        )
        self.notifications_requeued = self._counter(
            "notifications_requeued", "Messages that somebody had sent again, or at once."
        )
        self.resends = self._counter(
            "resends",
            "Times at which a receiver that forgets was told again what is on, by its channel and "
            "how that went.",
            "channel", "outcome",
        )  # fmt: skip
        self.outbox_pending = self._gauge(
            "outbox_pending", "Messages that are still to be delivered."
        )
        self.outbox_failed = self._gauge(
            "outbox_failed", "Messages that were given up and can be requeued."
        )
        self.flapping = self._gauge(
            "flapping_series",
            "Rules' groups that change state too often to be told each time "
            "(bound: 10,000; further ones are told each time).",
        )

    def _state(self) -> None:
        self.ready = self._gauge(
            "ready", "1 if events can be taken and made durable, as /readyz says."
        )
        self.rules = self._gauge("rules", "Active rules.")
        self.rules_cold = self._gauge(
            "rules_cold",
            "Active rules that began without the events stored before (bound: 5,000,000 events).",
        )
        self.rules_left_out = self._gauge(
            "rules_left_out",
            "Rules of files that are not judged: a rule made over HTTP has their name.",
        )
        self.configuration_warnings = self._gauge(
            "configuration_warnings",
            "What the configuration says that is most likely not meant, with the present rules.",
        )
        self.config_last_reload_successful = self._gauge(
            "config_last_reload_successful",
            "1 if the configuration was applied when it was last read, 0 if it was refused.",
        )
        self.series = self._gauge("series", "Series known (bound: engine.max_series).")
        self.groups = self._gauge(
            "groups", "Groups of rules held in memory (bound: engine.max_groups_per_rule)."
        )
        self.events_not_judged = self._counter(
            "events_not_judged",
            "Events that are stored and that a rule did not judge, by the limit in [engine].",
            "limit",
        )
        self.groups_dropped = self._counter(
            "groups_dropped", "Groups forgotten because they were quiet for their rule's time."
        )
        self.lag_seconds = self._gauge(
            "judging_lag_seconds", "For how long the oldest event not yet judged has waited."
        )
        start_time = self._gauge("start_time_seconds", "When the daemon started, Unix time.")
        start_time.set(time.time())
        build = self._gauge("build_info", "Always 1; the version is in the label.", "version")
        build.labels(__version__).set(1)

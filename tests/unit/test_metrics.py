"""What ``GET /metrics`` shows."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from alertd.metrics import Metrics
from tests.prometheus.metrics_page import page

ROOT = Path(__file__).parents[2]
BASE_UNITS = ("seconds", "bytes", "total", "info")
COUNTS = {
    *("alertd_ready", "alertd_queue_events", "alertd_http_connections", "alertd_commit_events"),
    *("alertd_applied_position", "alertd_outbox_pending", "alertd_rules", "alertd_series"),
    *("alertd_groups", "alertd_quarantine_events", "alertd_rules_cold", "alertd_outbox_failed"),
    *("alertd_http_requests_in_flight", "alertd_flapping_series", "alertd_lines_connections"),
    *("alertd_unfolded_events", "alertd_folding_stopped", "alertd_retention_stopped"),
    *("alertd_rules_left_out", "alertd_configuration_warnings"),
    "alertd_config_last_reload_successful",
}
"""Gauges and histograms of things that are counted: they have no unit."""


def test_every_metric_has_help_and_its_unit_at_the_end() -> None:
    for family in text_string_to_metric_families(Metrics().render().decode()):
        assert family.documentation.endswith((".", ")")), family.name
        assert re.fullmatch(r"(alertd|process)_[a-z_]+", family.name)
        if family.type == "counter":
            continue
        if family.name.startswith("alertd_") and family.name not in COUNTS:
            assert family.name.endswith(BASE_UNITS), family.name


def test_the_list_of_metrics_is_that_of_the_daemon() -> None:
    written = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert written == page(), "run: python -m tests.prometheus.metrics_page > docs/metrics.md"


def test_what_is_counted_is_shown() -> None:
    metrics = Metrics()
    metrics.events_accepted.inc(1000)
    metrics.requests.labels("POST", "/api/events", "202").inc()
    text = metrics.render().decode()
    assert "alertd_events_accepted_total 1000.0" in text
    assert 'alertd_http_requests_total{code="202",method="POST",route="/api/events"} 1.0' in text


def test_two_daemons_in_one_process_do_not_share_metrics() -> None:
    first, second = Metrics(), Metrics()
    first.commits.inc()
    assert "alertd_commits_total 0.0" in second.render().decode()


def test_the_process_itself_is_measured() -> None:
    assert b"process_resident_memory_bytes" in Metrics().render()

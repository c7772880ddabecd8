"""The daemon watches its own machine, and the shipped configuration starts as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon

SHIPPED = Path(__file__).parents[2] / "etc" / "alertd.toml"

WATCHED = """
[host_metrics]
enabled = true
interval_secs = 0.5
[[rules]]
name = "There is memory in use"
type = "MOVING_WINDOW"
aggregate = "{aggregate}"
metric_name = "host_memory_used_percent"
threshold = 0
window_duration_secs = 60
group_by = ["host"]
"""


@pytest.mark.parametrize("aggregate", ["last", "avg"])
def test_a_rule_on_the_memory_of_this_machine_fires(tmp_path: Path, aggregate: str) -> None:
    with Daemon(tmp_path, WATCHED.format(aggregate=aggregate)) as daemon:
        firing = daemon.wait_until(
            lambda: daemon.get("/api/incidents", state="firing")["items"], "the rule fires"
        )
        assert [item["ruleName"] for item in firing] == ["There is memory in use"]
        assert firing[0]["groupLabels"]["host"]
        assert 0 < firing[0]["currentValue"] <= 100
        assert firing[0]["status"] == "SUCCESS"  # nobody was to be told


def test_the_shipped_configuration_watches_this_machine(tmp_path: Path) -> None:
    shipped = SHIPPED.read_text(encoding="utf-8")
    config, count = re.subn(
        r'^# bind = "127.0.0.1:9470"', 'bind = "127.0.0.1:0"', shipped, flags=re.MULTILINE
    )
    assert count == 1
    with Daemon(tmp_path, config, minimal="") as daemon:
        assert daemon.get("/readyz") == {"status": "ready"}
        rules = daemon.get("/api/alerts")["items"]
        assert rules
        assert all(rule["source"] == "toml" for rule in rules)
        assert all(rule["metricName"].startswith("host_") for rule in rules)
        accepted = re.compile(r"^alertd_events_accepted_total ([1-9]\d*)\.0$", re.M)
        daemon.wait_until(
            lambda: accepted.search(daemon.client.get("/metrics").text), "there is a sample"
        )
        assert daemon.stop() < 3
        assert daemon.exit_code == 0
        assert not [line for line in daemon.lines if line["level"] in ("error", "critical")]

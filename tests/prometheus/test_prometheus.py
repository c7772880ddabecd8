"""What Prometheus and Grafana are given: the metrics, alerts on them, a dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon
from tests.prometheus.metrics_page import families

ROOT = Path(__file__).parents[2]
RULES = ROOT / "etc/prometheus/alertd.rules.yml"
RULES_TEST = Path(__file__).parent / "alertd.rules.test.yml"
DASHBOARD = ROOT / "etc/grafana/alertd.json"
OF_A_SCRAPE = {"up"}
"""Series that Prometheus itself makes."""
OF_EVERY_SERIES = {"job", "instance"}
WORDS = {
    *("by", "and", "sum", "min", "max", "count", "rate", "increase", "changes"),
    *("histogram_quantile", "min_over_time"),
}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="Prometheus' own tool is not installed (Debian: apt-get install prometheus)",
)


def promtool(*arguments: str, given: str = "") -> str:
    """Return what promtool prints; fail if it finds anything wrong."""
    ran = subprocess.run(
        ["promtool", *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@needs_promtool
def test_prometheus_finds_nothing_wrong_with_the_metrics_of_a_busy_daemon(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.post_rule(
            name="Errors", type="SIMPLE_COUNT", metricName="errors", threshold=0,
            windowDurationSecs=60,
            notifications=[{"channel": "WEBHOOK", "endpoint": "http://127.0.0.1:9/"}],
        )  # fmt: skip
        daemon.post_events([{"metricName": "errors"}, {"metricName": "errors", "value": "many"}])
        daemon.client.get("/nowhere")
        daemon.wait_until_told()
        text = daemon.client.get("/metrics").text
    assert 'alertd_notifications_total{channel="WEBHOOK"' in text
    assert promtool("check", "metrics", given=text) == ""
    shown = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert shown == {family.name for family in families()}


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


@needs_promtool
def test_every_alert_fires_where_all_is_wrong_and_none_where_all_is_well() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(RULES_TEST))
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
    tried = re.findall(r'alertname="(\w+)"', RULES_TEST.read_text(encoding="utf-8"))
    assert sorted(alerts) == sorted(tried)


def test_the_rules_are_about_metrics_that_there_are() -> None:
    text = RULES.read_text(encoding="utf-8")
    expressions = re.findall(r"expr: (?:>-\n)?(.*?)\n +(?:for|labels):", text, re.DOTALL)
    assert len(expressions) == text.count("- alert:")
    for expression in expressions:
        check_names(expression)


# Any: Grafana's JSON.
def panels() -> list[dict[str, Any]]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    for query in queries():
        check_names(query)
    (by_instance,) = re.findall(r"label_values\((\w+), instance\)", DASHBOARD.read_text())
    assert by_instance in known_series()


def test_the_dashboard_shows_whatever_an_alert_is_about() -> None:
    of_alerts = set(re.findall(r"\balertd_\w+", RULES.read_text(encoding="utf-8")))
    assert len(of_alerts) > 10
    assert of_alerts <= set(re.findall(r"\balertd_\w+", " ".join(queries())))


def test_the_panels_of_the_dashboard_are_told_apart_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@needs_promtool
def test_prometheus_can_parse_every_query_of_the_dashboard(tmp_path: Path) -> None:
    filled = [
        query.replace("$__rate_interval", "5m").replace("$instance", ".*") for query in queries()
    ]
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(filled)]
    path = tmp_path / "queries.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))


def known_series() -> dict[str, frozenset[str]]:
    return {name: labels for family in families() for name, labels in family.series.items()}


def check_names(expression: str) -> None:
    """Fail if ``expression`` names a metric or a label that there is not."""
    known = known_series()
    without_text = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", without_text)
    names = set(re.findall(r"[a-z_][a-z0-9_]+", bare))
    metrics = {name for name in names if name in known or name.startswith(("alertd_", "process_"))}
    assert metrics <= known.keys(), expression
    assert metrics or names & OF_A_SCRAPE, expression
    labels = {label for metric in metrics for label in known[metric]} | OF_EVERY_SERIES
    matched = {
        label
        for matchers in re.findall(r"\{([^}]*)\}", without_text)
        for label in re.findall(r"(\w+)\s*[=!]", matchers)
    }
    grouped = {
        label.strip()
        for group in re.findall(r"by \(([^)]*)\)", without_text)
        for label in group.split(",")
    }
    assert matched | grouped <= labels, expression
    rest = names - metrics - OF_A_SCRAPE - WORDS - labels
    assert not rest, f"{rest} in {expression}"

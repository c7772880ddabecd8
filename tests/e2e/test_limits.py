"""At a limit the newcomer is refused by name, and everything else goes on, over a kill too."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.daemon import Daemon

CONFIG = """
[engine]
max_groups_per_rule = 2
max_events_per_group = 3
max_series = 4
[[rules]]
name = "by host"
type = "SIMPLE_COUNT"
metric_name = "errors"
threshold = 3
window_duration_secs = 600
allowed_lateness_secs = 0
group_by = ["host"]
[[rules]]
name = "three of any"
type = "SIMPLE_COUNT"
metric_name = "errors"
threshold = 2
window_duration_secs = 600
allowed_lateness_secs = 0
"""


def refusals(
    daemon: Daemon,
) -> dict[tuple[str | None, str], tuple[int | None, dict[str, str] | None]]:
    return {
        (each["ruleName"], each["limit"]): (each["events"], each["latest"])
        for each in daemon.get("/api/status")["refusals"]
    }


def test_each_limit_is_named_with_whom_it_keeps_out_and_counts_on_after_a_kill(
    tmp_path: Path,
) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        for host in "aaaabc":
            daemon.post_events({"metricName": "errors", "labels": {"host": host}})
        daemon.post_events({"metricName": "other"})
        daemon.post_events({"metricName": "errors", "labels": {"host": "d"}}, 422)
        daemon.wait_until_judged()
        by_rule = {
            ("by host", "max_groups_per_rule"): (1, {"host": "c"}),
            ("by host", "max_events_per_group"): (1, {"host": "a"}),
            ("three of any", "max_events_per_group"): (3, {}),
        }
        by_all = {(None, "max_series"): (None, {"host": "d"})}
        assert refusals(daemon) == by_rule | by_all
        (incident,) = daemon.history()
        assert (incident["message"].startswith("three of any"), incident["currentValue"]) == (
            True,
            3,
        )
        line = daemon.wait_for_log(
            "a limit is reached: events are stored and not judged; "
            "raise engine.max_events_per_group, or have fewer"
        )
        assert (line["rule"], line["limit"]) == ("three of any", "max_events_per_group")
        metrics = daemon.client.get("/metrics").text
        assert 'alertd_events_not_judged_total{limit="max_groups_per_rule"} 1.0' in metrics
        before = daemon.history()
        daemon.kill()
        daemon.start()
        assert {key: n for key, (n, _) in refusals(daemon).items()} == {
            key: n for key, (n, _) in by_rule.items()
        }
        assert daemon.history() == before


def test_a_sender_that_pushes_less_often_than_a_rule_allows_is_shown(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        daemon.post_events({"metricName": "errors", "labels": {"host": "a"}})
        daemon.post_events({"metricName": "errors", "labels": {"host": "a"}})
        daemon.wait_until_judged()
        gaps = {each["ruleName"]: each for each in daemon.get("/api/status")["observedGaps"]}
        assert gaps.keys() == {"by host", "three of any"}
        gap = gaps["by host"]
        assert (gap["count"], gap["allowedLatenessSecs"]) == (1, 0)
        assert 0 < gap["greatestSecs"] < 60

"""A configuration that does not fit, or says what nobody means: what a person is told of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.daemon import Daemon

RULE = """
[[rules]]
name = "{name}"
type = "SIMPLE_COUNT"
metric_name = "{metric}"
threshold = 0
window_duration_secs = 60
"""


def checked(daemon: Daemon) -> subprocess.CompletedProcess[str]:
    """Return what ``alertd check`` says of the daemon's configuration."""
    return subprocess.run(
        [sys.executable, "-m", "alertd", "check", "--config", str(daemon.config_path)],
        capture_output=True, text=True, env=daemon.environ, cwd=daemon.folder, check=False,
    )  # fmt: skip


def test_a_name_that_a_rule_over_http_has_keeps_no_other_rule_from_its_work(
    tmp_path: Path,
) -> None:
    with Daemon(tmp_path) as daemon:
        made = daemon.post_rule(
            name="taken", type="SIMPLE_COUNT", metricName="made", threshold=0, windowDurationSecs=60
        )
        daemon.write_config(
            RULE.format(name="mine", metric="mine") + RULE.format(name="taken", metric="taken")
        )
        check = checked(daemon)  # while it runs
        assert check.returncode == 1
        assert f"DELETE /api/alerts/{made['id']}" in check.stderr
        daemon.stop()
        assert checked(daemon).stderr == check.stderr, "and while it does not"

        daemon.start()
        [error] = daemon.get("/api/status")["ruleErrors"]
        assert error["ruleName"] == "taken"
        assert check.stderr.strip() in error["message"]
        daemon.wait_until(
            lambda: "alertd_rules_left_out 1.0" in daemon.client.get("/metrics").text, "counted"
        )
        daemon.post_events([{"metricName": name} for name in ("mine", "made", "taken")])
        daemon.wait_until_judged()
        assert sorted(item["ruleName"] for item in daemon.history()) == ["mine", "taken"]
        refused = daemon.client.post("/api/reload")
        assert refused.status_code == 409
        [problem] = refused.json()["errors"]
        assert f"{problem['path']}: {problem['message']}" == check.stderr.strip()

        assert daemon.client.delete(f"/api/alerts/{made['id']}").status_code == 204
        assert daemon.get("/api/status")["ruleErrors"] == []
        daemon.wait_until(lambda: len(daemon.history()) == 3, "it is judged from now on, and back")
        fired = [item for item in daemon.history() if item["ruleName"] == "taken"]
        assert {item["alertId"] == made["id"] for item in fired} == {True, False}
        assert checked(daemon).returncode == 0
        assert json.loads(daemon.client.post("/api/reload").text)["rules"]["added"] == []

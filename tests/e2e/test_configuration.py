"""A configuration that does not fit, or says what nobody means: what a person is told of it."""

from __future__ import annotations

import json
import re
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


def alertd(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person beside the daemon would, and return what came of it."""
    return subprocess.run(
        [sys.executable, "-m", "alertd", *arguments],
        capture_output=True, text=True, env=daemon.environ, cwd=daemon.folder, check=False,
    )  # fmt: skip


def checked(daemon: Daemon) -> subprocess.CompletedProcess[str]:
    """Return what ``alertd check`` says of the daemon's configuration."""
    return alertd(daemon, "check", "--config", str(daemon.config_path))


def reloaded(daemon: Daemon) -> subprocess.CompletedProcess[str]:
    """Return what ``alertd reload`` says, and does."""
    return alertd(daemon, "reload", "--url", daemon.url)


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


ROUTE = """
[channels.ops]
type = "webhook"
url = "http://127.0.0.1:9/"
[[route]]
matchers = { team = "db" }
channels = ["ops"]
"""


def test_a_reload_from_the_command_line_tells_what_came_of_it(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        rule = RULE.format(name="a", metric="m") + 'notifications = ["ops"]\n'
        daemon.write_config(rule + ROUTE)
        done = reloaded(daemon)
        assert done.returncode == 0
        report = json.loads(done.stdout)
        assert (report["rules"]["added"], report["policies"]) == (["a"], ["route"])
        assert done.stderr == checked(daemon).stderr, "the warning, with its place"
        assert "route[0].matchers.team: matches nothing" in done.stderr
        warned = daemon.wait_for_log("the configuration says what is most likely not meant")
        assert warned["level"] == "warning"
        status = alertd(daemon, "status", "--url", daemon.url)
        assert (status.returncode, status.stderr) == (0, done.stderr)
        found = json.loads(status.stdout)["configuration"]
        assert (found["warnings"], found["warningCount"]) == (report["warnings"], 1)
        daemon.wait_until(
            lambda: "alertd_configuration_warnings 1.0" in daemon.client.get("/metrics").text,
            "they are counted",
        )

        broken = rule.replace("threshold = 0", 'threshold = "many"')
        daemon.write_config(broken + ROUTE.replace('"db"', '"=~("'))
        refused = reloaded(daemon)
        assert (refused.returncode, refused.stdout) == (3, "")
        assert refused.stderr == checked(daemon).stderr
        assert len(refused.stderr.splitlines()) == 2
        assert daemon.get("/api/alerts")["items"][0]["threshold"] == 0
        now = daemon.get("/api/status")["configuration"]
        assert now | {"refused": None} == found, "it runs on that one"
        told = [f"{error['path']}: {error['message']}" for error in now["refused"]["errors"]]
        assert told == refused.stderr.splitlines()
        daemon.wait_until(lambda: last_reload(daemon) == 0, "whoever watches is told")
        daemon.write_config("")
        daemon.wait_until(lambda: last_reload(daemon) == 1, "it is mended")
        assert daemon.get("/api/status")["configuration"]["refused"] is None


def last_reload(daemon: Daemon) -> float:
    """Return whether the last reload was applied, as Prometheus gets it."""
    (value,) = re.findall(
        r"^alertd_config_last_reload_successful (.+)$",
        daemon.client.get("/metrics").text,
        re.MULTILINE,
    )
    return float(value)


def test_a_silence_that_nothing_can_match_is_warned_of(tmp_path: Path) -> None:
    with Daemon(tmp_path, RULE.format(name="Logins", metric="m")) as daemon:
        add = ("silence", "add", "--url", daemon.url, "--for", "1h")
        good = alertd(daemon, *add, "ruleName=Logins")
        assert (good.returncode, good.stderr) == (0, "")
        idle = alertd(daemon, *add, "ruleName=Logns")
        assert idle.returncode == 0
        assert "no rule has such a name; did you mean 'Logins'?" in idle.stderr
        wrong = alertd(daemon, *add, "severity=crit")
        assert wrong.returncode == 3
        assert "did you mean 'critical'?" in wrong.stderr
        twice = alertd(daemon, *add, "ruleName=Logins", "ruleName=Logouts")
        assert twice.returncode == 2
        assert "'ruleName' is there 2 times" in twice.stderr

"""What outlives the process: a plain restart, kill -9, a snapshot in between, and a reload.

Each way of ending is tried on the same story: much is begun, the process ends, the same files
are started again, and what was begun is finished. Nobody outside may see a difference from a
process that went on running.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.brute_force import US
from tests.e2e.daemon import Daemon, to_rfc3339
from tests.receivers import Answer, HttpReceiver, http_receiver

T0_US = (time.time_ns() // 1000 // US - 600) * US
"""A whole second, ten minutes ago."""

CONFIG = """
[engine]
snapshot_interval_secs = {snapshot_interval_s}
[notify]
retry_first_secs = 0.05
retry_max_secs = 0.1
shutdown_deadline_secs = 0.5
[channels.hook]
type = "webhook"
url = "{hook}"
[channels.down]
type = "webhook"
url = "{down}"
[[rules]]
name = "logins"
type = "SIMPLE_COUNT"
metric_name = "logins"
threshold = 0
window_duration_secs = 60
allowed_lateness_secs = 3600
notifications = ["down"]
[[rules]]
name = "CPU is busy"
type = "MOVING_WINDOW"
metric_name = "cpu_percent"
threshold = 80
window_duration_secs = 60
group_by = ["host"]
allowed_lateness_secs = 3600
notifications = ["hook"]
[[rules]]
name = "CPU is busy for half a minute"
type = "MOVING_WINDOW"
metric_name = "cpu_percent"
threshold = 80
window_duration_secs = 60
group_by = ["host"]
for_secs = 30
allowed_lateness_secs = 3600
notifications = ["hook"]
"""
COUNTING = {
    "name": "too many errors", "type": "SIMPLE_COUNT", "metricName": "error_count",
    "threshold": 3, "windowDurationSecs": 60, "groupBy": ["service"],
    "allowedLatenessSecs": 3600, "notifications": [{"channel": "hook"}],
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """A daemon that was ended in the middle of many things, and started again."""

    daemon: Daemon
    hook: HttpReceiver
    down: HttpReceiver
    """A receiver that refused everything before the restart and takes everything since."""
    before: Seen
    after: Seen


@dataclass(frozen=True)
class Seen:
    """What can be seen from outside, but for the notification that is being retried."""

    rules: list[dict[str, Any]]
    incidents: list[dict[str, Any]]
    """With their timelines."""


def look(daemon: Daemon) -> Seen:
    ids = [item["id"] for item in daemon.history() if item["ruleName"] != "logins"]
    return Seen(
        daemon.get("/api/alerts")["items"], [daemon.get(f"/api/incidents/{id_}") for id_ in ids]
    )


@pytest.fixture(scope="module", params=["SIGTERM", "SIGKILL"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with http_receiver() as hook, http_receiver() as down:
        down.otherwise = Answer(status=503)
        folder = tmp_path_factory.mktemp(request.param)
        with Daemon(folder, configuration(hook, down)) as daemon:
            before = leave_much_unfinished(daemon, down)
            if request.param == "SIGTERM":
                daemon.stop()
                assert daemon.exit_code == 0
            else:
                daemon.kill()
            daemon.start()
            after = look(daemon)
            down.otherwise = Answer()
            yield World(daemon, hook, down, before, after)


def leave_much_unfinished(daemon: Daemon, down: HttpReceiver) -> Seen:
    """Start everything that the tests below finish, each on a group of its own."""
    rule = daemon.post_rule(**COUNTING)
    daemon.client.patch(f"/api/alerts/{rule['id']}", json={"severity": "critical"})
    daemon.post_events(errors("resolved", 0, 1, 2, 3, 90) + errors("half full", 0, 10))
    daemon.post_events(cpu((0, 90)))
    assert daemon.post_events(WITH_IDS)["accepted"] == len(WITH_IDS)
    daemon.post_events(events("logins", {}, (0, 1)))
    down.wait_for(1)
    daemon.wait_until_judged()
    daemon.wait_until(
        lambda: {item["ruleName"] for item in daemon.history(status="RETRY_PENDING")} == {"logins"},
        "all but one are told",
    )
    return look(daemon)


@pytest.fixture
def hook() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def daemon(tmp_path: Path, hook: HttpReceiver) -> Iterator[Daemon]:
    with Daemon(tmp_path, configuration(hook, hook)) as daemon:
        yield daemon


def configuration(hook: HttpReceiver, down: HttpReceiver, snapshot_interval_s: float = 3600) -> str:
    return CONFIG.format(hook=hook.url(), down=down.url(), snapshot_interval_s=snapshot_interval_s)


def events(metric: str, labels: dict[str, str], *points: tuple[float, float]) -> list[Any]:
    """Return events at (seconds after ``T0_US``, value)."""
    return [
        {"metricName": metric, "timestamp": at(seconds), "value": value, "labels": labels}
        for seconds, value in points
    ]


def at(seconds: float) -> str:
    return to_rfc3339(T0_US + round(seconds * US))


def errors(service: str, *seconds: float) -> list[Any]:
    return events("error_count", {"service": service}, *((second, 1) for second in seconds))


def cpu(*points: tuple[float, float]) -> list[Any]:
    return events("cpu_percent", {"host": "web-1"}, *points)


WITH_IDS = [{**event, "id": f"e{n}"} for n, event in enumerate(errors("with ids", 0, 1, 2))]


def the_incident(daemon: Daemon, rule_name: str, **group: str) -> dict[str, Any]:
    (item,) = (
        item
        for item in daemon.history()
        if item["ruleName"] == rule_name and item["groupLabels"].items() >= group.items()
    )
    return item


def messages(hook: HttpReceiver, rule_name: str) -> list[tuple[str, str]]:
    """Return kind and incident of every message about a rule."""
    bodies = [json.loads(request.body) for request in hook.received]
    return [
        (body["kind"], view["id"])
        for body in bodies
        for view in body["incidents"]
        if view["ruleName"] == rule_name
    ]


def test_rules_are_as_before(world: World) -> None:
    assert [rule["version"] for rule in world.before.rules] == [1, 1, 1, 2]
    assert world.after.rules == world.before.rules


def test_incidents_and_their_timelines_are_as_before(world: World) -> None:
    states = [item["state"] for item in world.before.incidents]
    assert sorted(states) == ["firing", "resolved"]
    assert world.after.incidents == world.before.incidents


def test_an_open_incident_resolves_as_itself_and_is_told_once(world: World) -> None:
    daemon, name = world.daemon, "CPU is busy"
    (open_incident,) = (item for item in world.before.incidents if item["ruleName"] == name)
    daemon.post_events(cpu((40, 10)))
    daemon.wait_until_told()
    ended = the_incident(daemon, name)
    assert (ended["id"], ended["endedAt"]) == (open_incident["id"], at(40))
    assert messages(world.hook, name) == [("firing", ended["id"]), ("resolved", ended["id"])]


def test_a_pending_condition_goes_on_counting(world: World) -> None:
    name = "CPU is busy for half a minute"
    (rule,) = (rule for rule in world.after.rules if rule["name"] == name)
    assert rule["state"]["pending"] == 1
    world.daemon.post_events(cpu((40, 10)))
    world.daemon.wait_until_judged()
    incident = the_incident(world.daemon, name)
    assert (incident["startedAt"], incident["firedAt"]) == (at(0), at(30))
    assert (incident["currentValue"], incident["endedAt"]) == (90, at(40))


def test_a_window_goes_on_where_it_was(world: World) -> None:
    world.daemon.post_events(errors("half full", 20, 30))
    world.daemon.wait_until_judged()
    incident = the_incident(world.daemon, "too many errors", service="half full")
    assert (incident["currentValue"], incident["firedAt"]) == (4, at(30))
    assert (incident["windowStart"], incident["windowEnd"]) == (at(-30), at(30))


def test_event_ids_are_remembered(world: World) -> None:
    daemon = world.daemon
    again = daemon.post_events([*WITH_IDS, {**errors("with ids", 3)[0], "id": "e3"}])
    assert (again["accepted"], again["duplicates"]) == (1, 3)
    daemon.wait_until_judged()
    incident = the_incident(daemon, "too many errors", service="with ids")
    assert (incident["currentValue"], incident["firedAt"]) == (4, at(3))


def test_a_pending_notification_is_delivered_under_its_key(world: World) -> None:
    world.daemon.wait_until_told()
    incident = the_incident(world.daemon, "logins")
    assert incident["status"] == "SUCCESS"
    assert len({request.headers["idempotency-key"] for request in world.down.received}) == 1


def test_a_kill_after_a_snapshot_loses_nothing_that_came_behind_it(
    tmp_path: Path, hook: HttpReceiver
) -> None:
    with Daemon(tmp_path, configuration(hook, hook, snapshot_interval_s=0.05)) as daemon:
        daemon.post_rule(**COUNTING)
        daemon.post_events(errors("payment", 0, 10))
        daemon.wait_until(lambda: daemon.get("/api/status")["snapshotPosition"] >= 2, "a snapshot")
        daemon.write_config(configuration(hook, hook))
        daemon.stop()
        daemon.start()
        daemon.post_events(errors("payment", 20))
        daemon.kill()
        daemon.start()
        recovery = daemon.get("/api/status")["recovery"]
        assert recovery["snapshotPosition"] >= 2
        assert recovery["replayedEvents"] == 1
        daemon.post_events(errors("payment", 30))
        daemon.wait_until_told()
        assert the_incident(daemon, "too many errors")["currentValue"] == 4
        assert len(messages(hook, "too many errors")) == 1


def test_what_a_202_acknowledged_outlives_a_kill_at_that_moment(daemon: Daemon) -> None:
    daemon.post_rule(**COUNTING)
    for batch in (errors("payment", 0, 1), errors("payment", 2, 3)):
        daemon.post_events(batch)
        daemon.kill()
        daemon.start()
    daemon.wait_until_told()
    assert the_incident(daemon, "too many errors")["currentValue"] == 4


def test_sigterm_ends_it_at_once_and_cleanly(daemon: Daemon) -> None:
    daemon.post_events(errors("payment", 0))
    assert daemon.stop() < 3
    assert daemon.exit_code == 0
    assert [line["event"] for line in daemon.lines][-1] == "stopped"
    assert not [line for line in daemon.lines if line["level"] in ("warning", "error", "critical")]


def test_a_second_daemon_on_the_same_store_refuses_to_start(daemon: Daemon) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "alertd", "run", "--config", str(daemon.config_path)],
        capture_output=True,
        text=True,
        timeout=20,
        env=daemon.environ,
        cwd=daemon.folder,
        check=False,
    )
    assert second.returncode not in (0, 2)
    last = json.loads(second.stderr.splitlines()[-1])
    assert last["level"] == "critical"
    assert "another" in last["reason"]
    assert str(daemon.folder / "state" / "alertd.db") in last["reason"]
    assert "Traceback" not in second.stderr
    daemon.post_events(errors("payment", 0))


# Reloading.


def test_sighup_adds_edits_and_removes_the_rules_of_the_file(
    daemon: Daemon, hook: HttpReceiver
) -> None:
    made = daemon.post_rule(**COUNTING)
    daemon.post_events(cpu((0, 90)))
    daemon.wait_until_told()
    before = {rule["name"]: rule for rule in daemon.get("/api/alerts")["items"]}
    text = configuration(hook, hook)
    text = text.replace('"CPU is busy for half a minute"', '"CPU is hot"')  # one goes, one comes
    text = text.replace("threshold = 80", "threshold = 85", 1)  # one is edited
    daemon.write_config(text)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("configuration applied", count=2)

    after = {rule["name"]: rule for rule in daemon.get("/api/alerts")["items"]}
    assert set(after) == {"CPU is busy", "CPU is hot", "logins", "too many errors"}
    assert after["logins"] == before["logins"]
    assert {**after["too many errors"], "warnings": []} == made
    busy = after["CPU is busy"]
    assert (busy["threshold"], busy["version"]) == (85, 2)
    assert (busy["id"], busy["source"]) == (before["CPU is busy"]["id"], "toml")
    assert busy["state"]["firing"] == 1  # an edit of the threshold keeps the state
    daemon.post_events(cpu((10, 78)))  # the average is 84: no longer a breach
    daemon.wait_until_told()
    assert the_incident(daemon, "CPU is busy")["endedAt"] == at(10)


def test_a_broken_file_changes_nothing_and_is_told_by_line_and_key(
    daemon: Daemon, hook: HttpReceiver
) -> None:
    before = daemon.get("/api/alerts")
    text = configuration(hook, hook)
    text = text.replace('"CPU is busy"', '"CPU is hot"', 1)
    text = text.replace("threshold = 80", 'threshold = "eighty"', 1).replace(
        "for_secs = 30", "fro_secs = 30"
    )
    daemon.write_config(text)
    daemon.signal(signal.SIGHUP)
    lines = [
        daemon.wait_for_log("configuration not reloaded: nothing was changed", count=count)
        for count in (1, 2)
    ]
    written = daemon.config_path.read_text(encoding="utf-8").splitlines()
    for line, key in zip(lines, ("threshold", "fro_secs"), strict=True):
        place = re.match(rf"{re.escape(str(daemon.config_path))}:(\d+): .*{key}", line["problem"])
        assert place is not None, line["problem"]
        assert written[int(place[1]) - 1].startswith(key)
    assert "for_secs" in lines[1]["problem"]  # the nearest known key
    assert daemon.get("/api/alerts") == before
    daemon.post_events(errors("payment", 0))

"""What a sender and an operator may rely on: requests done once, refusals kept, reloads.

Everything is asked of a real daemon, over stops and kills.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.daemon import JSON, MINIMAL, Daemon

RULE = """
[[rules]]
name = "{name}"
type = "SIMPLE_COUNT"
metric_name = "m"
threshold = {threshold}
window_duration_secs = 60
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path) as daemon:
        yield daemon


def counted(daemon: Daemon) -> float:
    """Return how many events were accepted since the daemon started."""
    return metric(daemon, "alertd_events_accepted_total")


def metric(daemon: Daemon, name: str) -> float:
    lines = daemon.client.get("/metrics").text.splitlines()
    (value,) = (line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} "))
    return float(value)


def push(daemon: Daemon, events: object, key: str) -> httpx.Response:
    headers = {**JSON, "Idempotency-Key": key}
    return daemon.client.post("/api/events", content=json.dumps(events), headers=headers)


def events(count: int) -> list[dict[str, Any]]:
    return [{"metricName": "m", "value": number} for number in range(count)]


# Idempotency-Key.


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_a_repeated_request_is_answered_as_before_over_a_restart(daemon: Daemon, end: str) -> None:
    body = [*events(3), {"metricName": "m", "value": "x"}]
    first = push(daemon, body, "k")
    assert (first.status_code, first.json()["accepted"]) == (202, 3)
    assert push(daemon, body, "k").content == first.content
    daemon.stop() if end == "SIGTERM" else daemon.kill()
    daemon.start()
    again = push(daemon, body, "k")
    assert (again.status_code, again.content) == (202, first.content)
    assert push(daemon, events(4), "k").status_code == 422
    assert counted(daemon) == 0
    assert push(daemon, events(4), "another").json()["accepted"] == 4
    assert metric(daemon, "alertd_requests_repeated_total") == 1


def test_a_kill_between_commit_and_answer_stores_once(daemon: Daemon) -> None:
    daemon.post_rule(
        name="all", type="SIMPLE_COUNT", metricName="m", threshold=0, windowDurationSecs=3600
    )
    replayed = 0
    for attempt in range(6):
        body, key = json.dumps(events(2)), f"attempt {attempt}"
        connection = http.client.HTTPConnection(daemon.url.removeprefix("http://"), timeout=10)
        connection.request("POST", "/api/events", body, {**JSON, "Idempotency-Key": key})
        time.sleep(attempt * 0.002)  # before, while or after it is committed; any must do
        daemon.kill()
        connection.close()
        daemon.start()
        before = daemon.get("/api/status")["recovery"]["replayedEvents"]
        assert before in (replayed, replayed + 2), "all of a request or nothing"
        answer = push(daemon, events(2), key)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
        replayed += 2
        assert before + counted(daemon) == replayed


def test_the_same_request_over_many_connections_at_once_is_stored_once(daemon: Daemon) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: push(daemon, events(500), "k"), range(64)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert counted(daemon) == 500


def test_a_sender_that_hangs_up_and_tries_again_is_stored_once(daemon: Daemon) -> None:
    body = json.dumps(events(5000))
    for attempt in range(10):
        key = f"attempt {attempt}"
        connection = http.client.HTTPConnection(daemon.url.removeprefix("http://"), timeout=10)
        connection.request("POST", "/api/events", body, {**JSON, "Idempotency-Key": key})
        time.sleep(attempt * 0.003)  # while it is read, decoded, committed or answered
        connection.close()
        assert push(daemon, events(5000), key).json()["accepted"] == 5000
    assert counted(daemon) == 50_000


def test_a_key_expires_with_the_horizon(tmp_path: Path) -> None:
    with Daemon(tmp_path, "[engine]\ndedup_horizon_secs = 0.2\n") as daemon:
        push(daemon, events(1), "k")
        time.sleep(0.3)
        assert push(daemon, events(2), "k").json()["accepted"] == 2


# The quarantine.


def quarantined(daemon: Daemon, count: int, **params: str | int) -> list[dict[str, Any]]:
    def items() -> list[dict[str, Any]]:
        found = daemon.history("/api/events/quarantine", **params)
        return found if len(found) >= count else []

    return daemon.wait_until(items, f"{count} events are in quarantine")


def test_what_was_refused_can_be_looked_at_and_outlives_a_restart(daemon: Daemon) -> None:
    late = {"metricName": "m", "timestamp": "2001-01-01T00:00:00Z", "labels": {"host": "a"}}
    ahead = {"metricName": "m", "timestamp": time.time() + 3600}
    receipt = daemon.post_events([*events(2), late, ahead, {"metricName": "m", "value": "x"}])
    assert (receipt["accepted"], receipt["rejected"]) == (2, 3)
    items = quarantined(daemon, 3)
    assert {item["reason"]: item["path"] for item in items} == {
        "too_old": "/2/timestamp", "future": "/3/timestamp", "malformed": "/4/value",
    }  # fmt: skip
    assert {error["message"] for error in receipt["errors"]} == {item["message"] for item in items}
    daemon.stop()
    daemon.start()
    assert daemon.history("/api/events/quarantine") == items
    assert [item["path"] for item in quarantined(daemon, 1, reason="too_old")] == ["/2/timestamp"]
    mended = json.loads(quarantined(daemon, 1, reason="malformed")[0]["event"]) | {"value": 1}
    assert daemon.post_events(mended)["accepted"] == 1


def test_a_flood_of_bad_events_is_bounded_and_good_ones_go_on(daemon: Daemon) -> None:
    bad = [{"metricName": "m", "value": "x" * 3000}] * 2500
    receipt = daemon.post_events([*bad, *events(10)])
    assert (receipt["accepted"], receipt["rejected"]) == (10, 2500)
    items = quarantined(daemon, 1000)
    assert len(items) == 1000
    assert all(len(item["event"].encode()) <= 2048 for item in items)
    assert metric(daemon, "alertd_quarantine_dropped_total") == 1500
    assert metric(daemon, 'alertd_events_rejected_total{reason="malformed"}') == 2500
    assert metric(daemon, "alertd_quarantine_events") == 1000


def test_what_was_refused_just_before_a_stop_is_kept(daemon: Daemon) -> None:
    daemon.post_events({"metricName": "m", "value": "x"}, 422)
    daemon.stop()
    daemon.start()
    assert len(daemon.history("/api/events/quarantine")) == 1


# Reloading.


def rules(**thresholds: int) -> str:
    return "".join(RULE.format(name=name, threshold=n) for name, n in thresholds.items())


def thresholds(daemon: Daemon) -> dict[str, int]:
    return {rule["name"]: rule["threshold"] for rule in daemon.get("/api/alerts")["items"]}


def test_a_reload_over_http_applies_and_reports(tmp_path: Path) -> None:
    with Daemon(tmp_path, rules(kept=1, edited=1, gone=1)) as daemon:
        daemon.write_config("[store]\nevent_retention_days = 7\n" + rules(kept=1, edited=2, new=3))
        answer = daemon.client.post("/api/reload")
        assert answer.status_code == 200
        assert answer.json()["rules"] == {
            "added": ["new"], "changed": ["edited"], "removed": ["gone"],
        }  # fmt: skip
        assert answer.json()["atNextStart"] == ["store"]
        assert thresholds(daemon) == {"kept": 1, "edited": 2, "new": 3}


def test_a_reload_of_a_bad_file_reports_every_mistake_and_changes_nothing(
    tmp_path: Path,
) -> None:
    with Daemon(tmp_path, rules(kept=1)) as daemon:
        daemon.write_config(rules(kept=2) + "fro_secs = 1\n[channels.ops]\ntype = 'carrier'\n")
        answer = daemon.client.post("/api/reload")
        assert answer.status_code == 422
        assert answer.headers["Content-Type"] == "application/problem+json"
        lines = daemon.config_path.read_text().splitlines()
        places = [error["path"].rpartition(":") for error in answer.json()["errors"]]
        assert {path for path, _, _ in places} == {str(daemon.config_path)}
        assert {lines[int(line) - 1] for _, _, line in places} == {
            "fro_secs = 1", "type = 'carrier'",
        }  # fmt: skip
        assert thresholds(daemon) == {"kept": 1}


def test_a_change_on_disk_is_taken_up_and_a_bad_one_told_of_once(tmp_path: Path) -> None:
    included = tmp_path / "more.toml"
    with Daemon(tmp_path, rules(a=1), minimal='include = ["more*.toml"]\n' + MINIMAL) as daemon:
        included.write_text(rules(b=1))
        daemon.wait_until(lambda: thresholds(daemon) == {"a": 1, "b": 1}, "it is reloaded")
        included.write_text("x = 1\n")
        refusal = "configuration not reloaded: nothing was changed"
        assert str(included) in daemon.wait_for_log(refusal)["problem"]
        included.write_text(rules(b=2))
        daemon.wait_until(lambda: thresholds(daemon) == {"a": 1, "b": 2}, "it is reloaded")
        assert sum(line["event"] == refusal for line in daemon.lines) == 1

"""From a running daemon to a backup, from a damaged database back to a running daemon."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon, to_rfc3339
from tests.receivers import HttpReceiver, http_receiver

T0_US = (time.time_ns() // 1000 // 1_000_000 - 600) * 1_000_000
CONFIG = """
[engine]
snapshot_interval_secs = 0.2
[channels.hook]
type = "webhook"
url = "{hook}"
[[rules]]
name = "errors"
type = "SIMPLE_COUNT"
metric_name = "error_count"
threshold = 3
window_duration_secs = 60
group_by = ["service"]
allowed_lateness_secs = 3600
notifications = ["hook"]
"""


@pytest.fixture
def hook() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def daemon(tmp_path: Path, hook: HttpReceiver) -> Iterator[Daemon]:
    with Daemon(tmp_path, CONFIG.format(hook=hook.url())) as daemon:
        yield daemon


def errors(service: str, *seconds: float) -> list[dict[str, Any]]:
    return [
        {
            "metricName": "error_count",
            "timestamp": to_rfc3339(T0_US + round(second * 1_000_000)),
            "labels": {"service": service},
        }
        for second in seconds
    ]


def alertd(daemon: Daemon, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run ``alertd db`` on the daemon's configuration; return what it wrote as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "alertd", "db", *arguments, "--config", daemon.config_path],
        capture_output=True, text=True, timeout=60, check=False,
        env=daemon.environ, cwd=daemon.folder,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return dict(json.loads(done.stdout)) if code == 0 else {"stderr": done.stderr}


def store_of(daemon: Daemon) -> Path:
    return daemon.folder / "state" / "alertd.db"


def test_a_backup_under_load_becomes_a_store_that_goes_on_where_it_was(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.post_events(errors("before", 0, 1, 2, 3) + errors("half full", 0, 1))
    daemon.wait_until_told()
    daemon.wait_until(lambda: daemon.get("/api/status")["snapshotAt"], "a snapshot")
    backup = str(tmp_path / "backup.db")
    is_over, sent = threading.Event(), 0

    def send() -> None:
        nonlocal sent
        while not is_over.is_set():
            daemon.post_events(errors("load", *(sent / 1000 for _ in range(100))))
            sent += 100

    load = threading.Thread(target=send)
    load.start()
    try:
        made = alertd(daemon, "backup", backup)
        checked = alertd(daemon, "check")
    finally:
        is_over.set()
        load.join()
    assert 6 <= made["events"] <= checked["events"] <= 6 + sent
    assert checked["findings"] == []
    daemon.post_events(errors("after the backup", 0, 1, 2, 3))
    daemon.wait_until_told()
    incidents = {item["groupLabels"]["service"]: item["id"] for item in daemon.history()}
    refused = alertd(daemon, "restore", backup, code=3)
    assert f"process {daemon.pid}" in refused["stderr"]

    daemon.kill()
    restored = alertd(daemon, "restore", backup)
    assert restored["events"] == made["events"]
    daemon.start()
    recovery = daemon.get("/api/status")["recovery"]
    assert recovery["snapshotPosition"] == made["snapshotPosition"] > 0
    assert recovery["replayedEvents"] == made["eventsBehindSnapshot"]
    daemon.post_events(errors("half full", 2, 3))
    daemon.wait_until_told()
    after = {item["groupLabels"]["service"]: item for item in daemon.history()}
    assert "after the backup" not in after
    assert after["before"]["id"] == incidents["before"]
    assert after["half full"]["currentValue"] == 4


def test_a_damaged_database_is_refused_at_start_with_the_way_out_of_it(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.post_events(errors("payment", 0, 1, 2, 3))
    daemon.wait_until_told()
    backup = str(tmp_path / "backup.db")
    alertd(daemon, "backup", backup)
    daemon.stop()
    with store_of(daemon).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40_000)
    with pytest.raises(AssertionError, match=r"alertd db restore"):
        daemon.start()
    assert "is damaged" in daemon.lines[-1]["reason"]
    daemon.lines = []  # that it failed was expected
    alertd(daemon, "restore", backup)
    daemon.start()
    assert [item["groupLabels"]["service"] for item in daemon.history()] == ["payment"]


def test_a_second_daemon_is_refused_until_the_first_is_killed(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.post_events(errors("payment", 0, 1))
    (tmp_path / "second").mkdir()
    second = Daemon(tmp_path / "second", CONFIG.format(hook="http://127.0.0.1:9/"))
    second.environ["STATE_DIRECTORY"] = daemon.environ["STATE_DIRECTORY"]
    with pytest.raises(AssertionError, match=f"another alertd .process {daemon.pid}."):
        second.start()
    daemon.kill()
    second.start()
    try:
        second.post_events(errors("payment", 2, 3))
        second.wait_until_judged()
        assert [item["currentValue"] for item in second.history()] == [4]
    finally:
        second.kill()

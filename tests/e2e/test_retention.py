"""A daemon that runs lets old events become sums by minute, and goes on by what is left."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from tests.e2e.daemon import Daemon

HOUR_S = 3600
BRIEF = """
[store]
event_retention_days = 0.02
fold_after_events = 1
"""


def events(start_s: float, count: int) -> list[dict[str, Any]]:
    return [
        {"metricName": "requests", "timestamp": start_s + place, "value": place / 10}
        for place in range(count)
    ]


def summed(daemon: Daemon) -> tuple[int, float]:
    items = daemon.get("/api/events", metricName="requests", resolution=60, limit=1000)["items"]
    return sum(item["count"] for item in items), round(sum(item["sum"] for item in items), 6)


def test_old_events_become_sums_and_a_replay_begins_with_what_is_left(tmp_path: Path) -> None:
    now_s = time.time()
    rule = {
        "name": "many", "type": "SIMPLE_COUNT", "metricName": "requests", "threshold": 4,
        "windowDurationSecs": 10,
    }  # fmt: skip
    with Daemon(tmp_path, BRIEF.replace("0.02", "30")) as daemon:
        daemon.post_rule(**rule)
        daemon.post_events(events(now_s - 5 * HOUR_S, 300))
        daemon.post_events(events(now_s - 60, 3))
        daemon.wait_until_judged()
        no_warning = [line["event"] for line in daemon.lines if line["level"] == "warning"]
        assert no_warning == []
        (old,) = daemon.history()
        expected = summed(daemon)
        assert expected[0] == 303
        daemon.stop()

        daemon.write_config(BRIEF)
        daemon.start()
        left = daemon.wait_until(
            lambda: len(daemon.get("/api/events", limit=1000)["items"]) == 3, "old events go"
        )
        assert left
        assert summed(daemon) == expected
        (series,) = daemon.get("/api/series")["items"]
        assert series["count"] == 303
        daemon.kill()

        shutil.rmtree(tmp_path / "state" / "alertd.db.snapshots")
        daemon.start()
        assert daemon.get("/api/status")["recovery"]["replayedEvents"] == 3
        assert [line["missing_entries"] for line in daemon.lines if "missing_entries" in line] == [
            1
        ]
        assert [item["id"] for item in daemon.history()] == [old["id"]]
        daemon.post_events(events(time.time() - 5, 5))
        daemon.wait_until_judged()
        assert [item["id"] for item in daemon.history()][1:] == [old["id"]]
        assert summed(daemon)[0] == 308

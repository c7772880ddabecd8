"""What was pushed can be read back, from a running daemon and after it was killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.e2e.daemon import GIVE_UP_S, Daemon, to_us


def pushed(start_s: int) -> list[dict[str, Any]]:
    """Return events of three services, late ones and ones of the same time among them."""
    return [
        {
            "metricName": "requests",
            "timestamp": start_s + (place * 7) % 60,
            "value": place,
            "labels": {"service": f"s{place % 3}"},
            **({"id": f"id-{place}"} if place % 2 else {}),
        }
        for place in range(200)
    ]


def listed(daemon: Daemon, path: str, limit: int, **params: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    page = daemon.get(path, limit=limit, **params)
    items += page["items"]
    while page["nextCursor"] is not None:
        page = daemon.get(path, limit=limit, cursor=page["nextCursor"], **params)
        items += page["items"]
    return items


def test_stored_events_and_series_are_read_back_after_a_kill(tmp_path: Path) -> None:
    start_s = int(time.time()) - 3600
    events = pushed(start_s)
    with Daemon(tmp_path) as daemon:
        for first in range(0, len(events), 50):
            assert daemon.post_events(events[first : first + 50])["accepted"] == 50
        assert daemon.post_events(events[1:2])["duplicates"] == 1
        daemon.kill()
        daemon.start()
        shown = listed(daemon, "/api/events", 33, metricName="requests", **{"labels.service": "s1"})
        expected = sorted(
            (event for event in events if event["labels"]["service"] == "s1"),
            key=lambda event: event["timestamp"],  # a stable sort: ties stay in order of arrival
        )
        assert [item["value"] for item in shown] == [event["value"] for event in expected]
        assert [item["id"] for item in shown] == [event.get("id") for event in expected]
        assert to_us(shown[0]["timestamp"]) == expected[0]["timestamp"] * 1_000_000
        middle = listed(
            daemon, "/api/events", 1000, **{"from": str(start_s + 10), "to": str(start_s + 20)}
        )
        assert len(middle) == sum(10 <= event["timestamp"] - start_s < 20 for event in events)
        summed = listed(daemon, "/api/events", 2, metricName="requests", resolution="60")
        assert sum(item["count"] for item in summed) == len(events)
        assert sum(item["sum"] for item in summed) == sum(range(len(events)))
        command = [sys.executable, "-m", "alertd", "events", "--config", str(daemon.config_path)]
        printed = subprocess.run(
            [*command, "--label", "service=s1"],
            env=daemon.environ,
            cwd=tmp_path,
            capture_output=True,
            check=True,
            timeout=GIVE_UP_S,
        ).stdout
        assert [json.loads(line) for line in printed.splitlines()] == shown
        series = listed(daemon, "/api/series", 2, metricName="requests")
        assert {item["labels"]["service"]: item["count"] for item in series} == {
            "s0": 67, "s1": 67, "s2": 66
        }  # fmt: skip
        head = daemon.client.head("/api/events", params={"limit": 1})
        assert (head.status_code, head.content) == (200, b"")

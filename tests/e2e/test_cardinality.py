"""Very many label sets, a million in CI: beyond the bound they are refused, in bounded memory.

Other rules go on meanwhile.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import psutil

from tests.e2e.daemon import Daemon

LABEL_SETS = int(os.environ.get("ALERTD_BOMB_LABEL_SETS", "200000"))
MAX_SERIES = 20_000
BATCH = 10_000
MSGPACK = {"Content-Type": "application/msgpack"}
GROWTH = 1.1
"""Memory may be so many times what it was when the bound had just been reached."""
CONFIG = f"""
[engine]
max_series = {MAX_SERIES}
[[rules]]
name = "by user"
type = "SIMPLE_COUNT"
metric_name = "bomb"
threshold = 1000000
window_duration_secs = 3600
group_by = ["user"]
[[rules]]
name = "untouched"
type = "SIMPLE_COUNT"
metric_name = "good"
threshold = 0
window_duration_secs = 1
allowed_lateness_secs = 0
group_by = ["round"]
"""


def columns(first: int) -> bytes:
    """Return events of ``BATCH`` label sets, each new."""
    now_us = time.time_ns() // 1000
    return msgspec.msgpack.encode(
        {
            "series": [["bomb", {"user": f"u{first + n}"}] for n in range(BATCH)],
            "seriesIndex": list(range(BATCH)),
            "timestamp": [now_us] * BATCH,
            "value": [1.0] * BATCH,
        }
    )


def memory_bytes(daemon: Daemon) -> int:
    return int(psutil.Process(daemon.pid).memory_info().rss)


def test_a_million_label_sets_cost_their_sender_and_nobody_else(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        good = [{"metricName": "good", "labels": {"round": str(n)}} for n in range(10)]
        daemon.post_events(good)  # their series are known before it begins
        accepted = refused = 0
        full_at: int | None = None
        for first in range(0, LABEL_SETS, BATCH):
            answer = daemon.client.post("/api/events", content=columns(first), headers=MSGPACK)
            if answer.status_code == 202:
                accepted += answer.json()["accepted"]
                refused += answer.json()["rejected"]
            else:
                assert answer.status_code == 422, answer.text
                assert "engine.max_series" in answer.text
                refused += BATCH
            if first == 10 * BATCH:
                full_at = memory_bytes(daemon)
            if first % (20 * BATCH) == 0:
                assert daemon.post_events(good)["accepted"] == 10
        assert accepted == MAX_SERIES - 10
        assert accepted + refused == LABEL_SETS
        assert full_at is not None
        assert memory_bytes(daemon) < full_at * GROWTH
        status = daemon.get("/api/status")
        assert status["series"] == MAX_SERIES
        (refusal,) = status["refusals"]
        assert (refusal["limit"], refusal["metricName"]) == ("max_series", "bomb")
        daemon.wait_until_judged()
        told = {incident["groupLabels"]["round"] for incident in daemon.history()}
        assert told == {str(n) for n in range(10)}
        metrics = daemon.client.get("/metrics").text
        assert f'alertd_limits_reached_total{{limit="series"}} {float(refused)}' in metrics

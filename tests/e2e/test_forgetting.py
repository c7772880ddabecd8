"""A group that falls silent for its rule's time ends, is told of, and is not kept in memory."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.daemon import Daemon
from tests.receivers import http_receiver

CONFIG = """
[channels.hook]
type = "webhook"
url = "{hook}"
[[rules]]
name = "a job has failed"
type = "MOVING_WINDOW"
metric_name = "job_failed"
aggregate = "last"
threshold = 0
window_duration_secs = 1
allowed_lateness_secs = 0
on_no_data = "keep"
group_by = ["job"]
group_ttl_secs = 2
notifications = ["hook"]
"""


def test_what_is_open_on_a_silent_group_expires_once_over_a_kill_too(tmp_path: Path) -> None:
    with http_receiver() as hook, Daemon(tmp_path, CONFIG.format(hook=hook.url())) as daemon:
        daemon.post_events({"metricName": "job_failed", "labels": {"job": "backup"}})
        hook.wait_for(1)
        daemon.wait_until_told()
        daemon.kill()
        daemon.start()
        (_, resolved) = hook.wait_for(2)
        (told,) = json.loads(resolved.body)["incidents"]
        assert (told["state"], told["reason"]) == ("resolved", "expired")
        assert told["groupLabels"] == {"job": "backup"}
        daemon.wait_until(lambda: daemon.get("/api/status")["groups"] == 0, "the group is gone")
        assert daemon.get("/api/status")["droppedGroups"] == 1
        daemon.wait_until_told()
        before = daemon.history()
        daemon.kill()
        daemon.start()
        daemon.wait_until(lambda: daemon.get("/api/status")["droppedGroups"] == 1, "it is known")
        daemon.wait_until_told()
        assert daemon.history() == before
        assert len(hook.received) == 2

"""A rule that is made over HTTP after its events fires at once, and once only."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.e2e.brute_force import US
from tests.e2e.daemon import Daemon, to_rfc3339
from tests.receivers import http_receiver

CONFIG = """
[notify]
allow_private_endpoints = true
[channels.hook]
type = "webhook"
url = "{hook}"
"""
RULE = {
    "name": "too many errors", "type": "SIMPLE_COUNT", "metricName": "error_count",
    "threshold": 2, "windowDurationSecs": 600, "groupBy": ["service"],
    "notifications": [{"channel": "hook"}],
}  # fmt: skip


def test_a_rule_that_already_holds_is_told_at_once_and_not_again_after_a_kill(
    tmp_path: Path,
) -> None:
    with http_receiver() as hook, Daemon(tmp_path, CONFIG.format(hook=hook.url())) as daemon:
        now_us = time.time_ns() // 1000
        times_us = [now_us - ago_s * US for ago_s in (90, 60, 30)]
        daemon.post_events(
            [
                {"metricName": "error_count", "timestamp": to_rfc3339(time_us),
                 "labels": {"service": "payment"}}
                for time_us in times_us
            ]
        )  # fmt: skip
        rule = daemon.post_rule(201, **RULE)
        (request,) = hook.wait_for(1)
        (told,) = json.loads(request.body)["incidents"]
        assert told["startedAt"] == to_rfc3339(times_us[-1])
        assert told["detectedBy"] == "backfill"
        assert told["alertId"] == rule["id"]
        assert (told["state"], told["value"]) == ("firing", 3)
        assert daemon.get("/api/status")["coldRules"] == []
        daemon.wait_until_told()
        before = daemon.history()
        daemon.kill()
        daemon.start()
        daemon.wait_until_told()
        assert daemon.history() == before
        assert daemon.get("/api/status")["coldRules"] == []
        assert len(hook.received) == 1

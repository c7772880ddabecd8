"""Ten thousand incidents at once, against a real daemon: few messages, and nothing is lost."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import psutil

from tests.e2e.daemon import JSON, Daemon
from tests.receivers import HttpReceiver, http_receiver

GROUPS = 10_000
MAX_MESSAGES = 20
MAX_BYTES_A_GROUP = 12_000
"""Twice what a new series, its group, and its incident under way take."""
PROBE = json.dumps({"metricName": "probe"})


def told(hook: HttpReceiver) -> dict[str, int]:
    """Return how often each incident was told."""
    counts: dict[str, int] = {}
    for request in list(hook.received):
        for incident in json.loads(request.body)["incidents"]:
            counts[incident["id"]] = counts.get(incident["id"], 0) + 1
    return counts


def test_a_storm_is_a_handful_of_messages_and_loses_nothing(tmp_path: Path) -> None:
    with http_receiver() as hook:
        config = f'[channels.hook]\ntype = "webhook"\nurl = "{hook.url()}"\n'
        with Daemon(tmp_path, config + "[notify]\ngroup_interval_secs = 3\n") as daemon:
            daemon.post_rule(
                name="Storm",
                type="MOVING_WINDOW",
                metricName="load",
                threshold=1,
                windowDurationSecs=3600,
                aggregate="max",
                groupBy=["group"],
                notifications=[{"channel": "hook"}],
            )
            before_bytes = psutil.Process(daemon.pid).memory_info().rss
            over = threading.Event()
            answers: list[int] = []

            def keep_sending() -> None:
                with httpx.Client(base_url=daemon.url, trust_env=False, timeout=20) as client:
                    while not over.wait(0.02):
                        sent = client.post("/api/events", content=PROBE, headers=JSON)
                        answers.append(sent.status_code)

            sender = threading.Thread(target=keep_sending)
            sender.start()
            daemon.post_events(
                [
                    {"metricName": "load", "value": 5, "labels": {"group": f"g{n}"}}
                    for n in range(GROUPS)
                ]
            )
            before = len(answers)
            daemon.wait_until(lambda: len(told(hook)) == GROUPS, "all are told")
            over.set()
            sender.join()
            assert set(told(hook).values()) == {1}
            assert set(answers) == {202}
            assert len(answers) - before > 10, "events are committed meanwhile"
            daemon.wait_until_told()
            assert len(hook.received) <= MAX_MESSAGES
            grown_bytes = psutil.Process(daemon.pid).memory_info().rss - before_bytes
            assert grown_bytes < GROUPS * MAX_BYTES_A_GROUP

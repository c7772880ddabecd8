"""A bot tells the end of an incident below its beginning, over restarts and Slack's rate limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon
from tests.receivers import Answer, HttpReceiver, Received, http_receiver

CONFIG = """
[notify]
group_interval_secs = 0
retry_first_secs = 0.01
[channels.chat]
type = "slack"
token_env = "BOT_TOKEN"
channel = "#alerts"
api_url = "{api}"
follow_up = "{style}"
"""
RULE = {
    "type": "SIMPLE_COUNT",
    "metricName": "logins",
    "threshold": 1,
    "windowDurationSecs": 3600,
    "groupBy": ["service"],
    "notifications": [{"channel": "chat"}],
}


def posted(ts: str) -> Answer:
    return Answer(body=json.dumps({"ok": True, "channel": "C1", "ts": ts}).encode())


LIMITED = Answer(429, {"Retry-After": "0"}, b'{"ok":false,"error":"ratelimited"}')


@pytest.fixture
def slack() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        receiver.otherwise = posted("9.9")
        yield receiver


def sent(request: Received) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.body)
    return body


@pytest.mark.parametrize("style", ["thread", "update"])
def test_the_end_is_told_where_the_beginning_was(
    tmp_path: Path, slack: HttpReceiver, style: str
) -> None:
    slack.script = [LIMITED, posted("1.1"), posted("2.2"), LIMITED, posted("3.3")]
    config = CONFIG.format(api=slack.url("/api"), style=style)
    with Daemon(tmp_path, config, environ={"BOT_TOKEN": "xoxb-CANARY"}) as daemon:
        for name in ("one", "two"):
            daemon.post_rule(name=name, matchers={"service": name}, **RULE)
            daemon.post_events([{"metricName": "logins", "labels": {"service": name}}] * 2)
            daemon.wait_until_judged()
            daemon.wait_until_told()
        daemon.stop()
        daemon.start()
        [one] = [rule["id"] for rule in daemon.get("/api/alerts")["items"] if rule["name"] == "one"]
        assert daemon.client.delete(f"/api/alerts/{one}").status_code == 204
        slack.wait_for(5)
        daemon.wait_until_told()
        assert {item["status"] for item in daemon.history()} == {"SUCCESS"}
        assert "CANARY" not in json.dumps([daemon.lines, daemon.history()])
    *begun, limited, end = slack.received
    assert {request.headers["authorization"] for request in slack.received} == {
        "Bearer xoxb-CANARY"
    }
    assert [(r.path, sent(r)["channel"]) for r in begun] == [
        ("/api/chat.postMessage", "#alerts")
    ] * 3
    assert limited.body == end.body
    assert sent(end)["text"].startswith("ENDED: one")
    place = (end.path, sent(end)["channel"], sent(end).get("thread_ts"), sent(end).get("ts"))
    assert (
        place
        == {
            "thread": ("/api/chat.postMessage", "C1", "1.1", None),
            "update": ("/api/chat.update", "C1", None, "1.1"),
        }[style]
    )

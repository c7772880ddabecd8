"""What a daemon is told before its database is kept, and what another must still know.

Everything goes in and comes out over HTTP, so that any version of alertd can be told it and asked
for it. Event times are fixed and long past: nothing may hang on when a database was made.
"""

from __future__ import annotations

from typing import Any, Final

from tests.e2e.daemon import JSON, Daemon
from tests.receivers import Answer, HttpReceiver

CONFIG: Final = """
[store]
event_retention_days = 36500
history_retention_days = 36500
quarantine_retention_days = 36500
rollup_retention_days = 36500
[notify]
retry_first_secs = 0.01
retry_max_secs = 0.01
max_age_secs = 31622400
[channels.hook]
type = "webhook"
url = "{hook}"
[channels.down]
type = "webhook"
url = "{down}"
[[rules]]
name = "from a file"
type = "MOVING_WINDOW"
metric_name = "latency_ms"
aggregate = "p95"
threshold = 200
window_duration_secs = 10
group_by = ["host"]
notifications = ["hook"]
"""

RULE: Final[dict[str, Any]] = {
    "name": "over HTTP ä😀", "type": "SIMPLE_COUNT", "metricName": "error_count",
    "threshold": 2, "windowDurationSecs": 60, "groupBy": ["service"],
    "matchers": {"service": "=~.*"}, "severity": "error",
    "notifications": [{"channel": "hook"}, {"channel": "down"}],
}  # fmt: skip


def event(metric: str, second: float, value: float, **labels: str) -> dict[str, Any]:
    """Return an event of the 30th of June 2025, ``second`` seconds after three."""
    minute, second = divmod(second, 60)
    at = f"2025-06-30T15:{int(minute):02}:{second:09.6f}Z"
    return {"metricName": metric, "timestamp": at, "value": value, "labels": labels}


BATCHES: Final = (
    [event("error_count", n, 1, service="payment") for n in range(3)],
    [{**event("error_count", n, 1, service="with ids"), "id": f"e{n}"} for n in range(2)],
    [event("latency_ms", n / 7, 150 + n, host="web-1") for n in range(100)],
    [event("latency_ms", 30, 1, host="web-1"), event("error_count", 200, 1, service="payment")],
)
EVENTS: Final = sum(map(len, BATCHES))
KEYED: Final = [event("error_count", 300, 1, service="keyed ä")]
KEY: Final = {**JSON, "Idempotency-Key": "the key"}
BAD: Final = {**event("error_count", 0, 1), "value": "NaN"}


def tell(daemon: Daemon, down: HttpReceiver) -> None:
    """Have a new daemon make rules, judge, tell, and leave one message pending."""
    down.otherwise = Answer(status=503)
    rule = daemon.post_rule(**RULE)
    edited = daemon.client.patch(f"/api/alerts/{rule['id']}", json={"description": "edited"})
    assert edited.status_code == 200, edited.text
    gone = daemon.post_rule(**RULE | {"name": "soon gone", "threshold": 1})
    daemon.post_events(BATCHES[0])
    daemon.wait_until_judged()
    assert daemon.client.delete(f"/api/alerts/{gone['id']}").status_code == 204
    for batch in BATCHES[1:]:
        daemon.post_events(batch)
        daemon.wait_until_judged()
    answer = daemon.client.post("/api/events", json=KEYED, headers=KEY)
    assert answer.status_code == 202, answer.text
    daemon.post_events([BAD], expected_status=422)
    daemon.wait_until_judged()
    daemon.wait_until(lambda: len(down.received) > 2, "the receiver refuses")


def known(daemon: Daemon) -> dict[str, Any]:
    """Return what a daemon knows of what it was told, in a form that no version changes."""
    rules = {
        rule["name"]: (rule["id"], rule["version"], rule["threshold"], rule["description"])
        for rule in daemon.get("/api/alerts")["items"]
    }
    incidents = {
        item["id"]: (item["ruleName"], item["groupLabels"], item["startedAt"], item["firedAt"])
        for item in daemon.history()
    }
    told = {
        f"{id_}: {line['what']}": True
        for id_ in incidents
        for line in daemon.get(f"/api/incidents/{id_}")["timeline"]
    }
    return {"rules": rules, "incidents": incidents, "told": told}

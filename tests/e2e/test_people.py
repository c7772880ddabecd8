"""What people do about incidents, against a real daemon: silence, acknowledge, send again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon
from tests.receivers import Answer, HttpReceiver, Received, http_receiver
from tests.unit.cli.terminals import at_a_terminal

RULE = {
    "type": "SIMPLE_COUNT",
    "metricName": "logins",
    "threshold": 1,
    "windowDurationSecs": 3600,
    "groupBy": ["service"],
    "notifications": [{"channel": "hook"}],
}
NOTIFY = """
[notify]
group_interval_secs = 0
[channels.hook]
type = "webhook"
url = "{url}"
"""
PRIVATE = "allow_private_endpoints = true"


@pytest.fixture
def hook() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def daemon(tmp_path: Path, hook: HttpReceiver) -> Iterator[Daemon]:
    with Daemon(tmp_path, NOTIFY.format(url=hook.url())) as running:
        yield running


def fire(daemon: Daemon, service: str = "payment") -> None:
    daemon.post_events([{"metricName": "logins", "labels": {"service": service}}] * 2)
    daemon.wait_until_judged()


def alertd(daemon: Daemon, *arguments: str, exit_code: int = 0) -> Any:
    """Run a command against the daemon as a script would; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "alertd", *arguments, "--url", daemon.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_code, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def kinds(hook: HttpReceiver) -> list[str]:
    return [json.loads(request.body)["kind"] for request in hook.received]


def test_a_silence_from_the_command_line_holds_over_a_restart_until_it_is_ended(
    daemon: Daemon, hook: HttpReceiver
) -> None:
    daemon.post_rule(name="Logins", **RULE)
    [silence] = alertd(
        *(daemon, "silence", "add", "--for", "2h", "--by", "ann", "--comment", "deploy"),
        *("service=~pay.*", "ruleName=Logins"),
    )
    assert silence["matchers"] == {"service": "=~pay.*", "ruleName": "Logins"}
    fire(daemon)
    fire(daemon, "search")
    hook.wait_for(1)
    daemon.stop()
    daemon.start()
    [incident] = [i for i in daemon.history() if i["groupLabels"] == {"service": "payment"}]
    lines = daemon.get(f"/api/incidents/{incident['id']}")["timeline"]
    assert [line["what"] for line in lines] == ["fired", "silenced"]
    assert "by ann: deploy" in lines[1]["detail"]
    assert [one["state"] for one in alertd(daemon, "silence", "list")] == ["active"]
    alertd(daemon, "silence", "expire", silence["id"])
    hook.wait_for(2)
    assert alertd(daemon, "silence", "list") == []
    assert [one["state"] for one in alertd(daemon, "silence", "list", "--all")] == ["expired"]
    told = [json.loads(request.body)["incidents"][0]["groupLabels"] for request in hook.received]
    assert told == [{"service": "search"}, {"service": "payment"}]


def test_what_the_command_cannot_do_it_says(daemon: Daemon) -> None:
    refused = alertd(daemon, "silence", "expire", "nothing", exit_code=3)
    assert "no silence with the id" in refused
    assert "RE2" in alertd(daemon, "silence", "add", "--for", "1h", "a=~(", exit_code=3)
    later = ("silence", "add", "--start", "1h", "--end", "2h", "a=b")
    assert [one["state"] for one in alertd(daemon, *later)] == ["pending"]
    assert ", from 20" in at_a_terminal("silence", "list", "--url", daemon.url)[1]
    assert "30m, 2h or 7d" in alertd(daemon, "silence", "add", "--for", "1", "a=b", exit_code=2)
    daemon.stop()
    assert "is it running" in alertd(daemon, "silence", "list", exit_code=3)
    daemon.start()


def test_an_incident_is_repeated_until_somebody_acknowledges_it(
    daemon: Daemon, hook: HttpReceiver
) -> None:
    daemon.post_rule(name="Logins", repeatIntervalSecs=0.2, **RULE)
    fire(daemon)
    hook.wait_for(3)
    assert kinds(hook)[:3] == ["firing", "repeat", "repeat"]
    [incident] = daemon.history()
    path = f"/api/incidents/{incident['id']}"
    answer = daemon.client.post(f"{path}/ack", json={"by": "ann"})
    assert (answer.status_code, answer.json()["acknowledgedBy"]) == (200, "ann")
    assert daemon.client.post(f"{path}/ack").status_code == 200
    daemon.wait_until_told()
    told = len(hook.received)
    [line] = [line for line in daemon.get(path)["timeline"] if line["what"] == "acknowledged"]
    assert line["detail"] == "ann"
    assert daemon.client.post("/api/incidents/nothing/ack").status_code == 404
    fire(daemon, "search")
    hook.wait_for(told + 2)
    services = [json.loads(r.body)["incidents"][0]["groupLabels"] for r in hook.received[told:]]
    assert {"service": "payment"} not in services


def test_incidents_are_listed_and_acknowledged_from_the_command_line(daemon: Daemon) -> None:
    assert alertd(daemon, "incidents") == []
    rule = daemon.post_rule(name="Logins", **RULE)
    fire(daemon)
    fire(daemon, "search")
    newest, oldest = alertd(daemon, "incidents")
    assert [one["groupLabels"]["service"] for one in (newest, oldest)] == ["search", "payment"]
    assert [one["id"] for one in alertd(daemon, "incidents", "--limit", "1")] == [newest["id"]]
    daemon.wait_until_told()
    assert len(alertd(daemon, "incidents", "--told", "delivered")) == 2
    assert alertd(daemon, "incidents", "--all", "--told", "failed") == []
    seen = alertd(daemon, "ack", oldest["id"], "--by", "ann")
    assert (seen["id"], seen["acknowledgedBy"]) == (oldest["id"], "ann")
    listed = {one["id"]: one["acknowledgedBy"] for one in alertd(daemon, "incidents")}
    assert listed == {newest["id"]: None, oldest["id"]: "ann"}
    code, shown = at_a_terminal("incidents", "--url", daemon.url)
    assert code == 0
    assert newest["id"] in shown
    assert "acknowledged by ann" in shown
    assert "service=payment" in shown
    code, shown = at_a_terminal("ack", newest["id"][:8], "--by", "bob", "--url", daemon.url)
    assert code == 0
    assert "acknowledged by bob" in shown
    assert "no incident that is on" in alertd(daemon, "ack", "nothing", exit_code=3)
    absent = "6f1c2d4e-0000-5000-8000-000000000001"
    assert "no incident with the id" in alertd(daemon, "ack", absent, exit_code=3)
    assert daemon.client.delete(f"/api/alerts/{rule['id']}").status_code == 204
    daemon.wait_until_judged()
    assert alertd(daemon, "incidents") == []
    assert "nothing is on" in at_a_terminal("incidents", "--url", daemon.url)[1]
    nobody = ("incidents", "--told", "nobody", "--url", daemon.url)
    assert "there is none" in at_a_terminal(*nobody)[1]
    over = alertd(daemon, "incidents", "--all")
    assert [one["state"] for one in over] == ["resolved", "resolved"]


def test_what_nobody_acknowledges_in_time_is_told_to_whom_channel_and_rule_name(
    tmp_path: Path, hook: HttpReceiver
) -> None:
    """Over HTTP and in a file. The exact times are tried on a clock in the test's hands."""
    config = NOTIFY.format(url=hook.url()).replace("[notify]", "[notify]\n" + PRIVATE) + (
        'escalate_after_secs = 0.2\nescalate_to = ["boss"]\n'
        f'[channels.boss]\ntype = "webhook"\nurl = "{hook.url("/boss")}"\n'
    )
    owner = {"channel": "WEBHOOK", "endpoint": hook.url("/owner")}
    with Daemon(tmp_path, config) as daemon:
        daemon.post_rule(name="Logins", escalateAfterSecs=0.4, escalateTo=[owner], **RULE)
        fire(daemon)
        hook.wait_for(3)
        assert [request.path for request in hook.received] == ["/hook", "/boss", "/owner"]
        assert kinds(hook) == ["firing"] * 3
        [incident] = daemon.history()
        lines = daemon.get(f"/api/incidents/{incident['id']}")["timeline"]
        held = [line["detail"] for line in lines if line["what"] == "escalates"]
        assert sorted(held) == [
            "WEBHOOK: it is told in 0.4 s if nobody acknowledges it",
            "boss (by channel hook): it is told in 0.2 s if nobody acknowledges it",
        ]


def test_a_message_that_failed_is_listed_and_sent_again_on_request(
    daemon: Daemon, hook: HttpReceiver
) -> None:
    hook.otherwise = Answer(status=410)
    daemon.post_rule(name="Logins", **RULE)
    fire(daemon)
    daemon.wait_until_told()
    [failed] = daemon.get("/api/notifications", status="FAILED")["items"]
    assert (failed["channel"], failed["attempts"], failed["kinds"]) == ("hook", 1, ["firing"])
    assert "410" in failed["lastError"]
    [incident] = alertd(daemon, "incidents", "--told", "failed")
    assert [incident["id"]] == failed["incidents"]
    daemon.wait_until(lambda: daemon.get("/api/status")["failedNotifications"], "it is counted")
    hook.otherwise = Answer()
    assert alertd(daemon, "messages", "list", "--status", "FAILED") == [failed]
    assert alertd(daemon, "messages", "list", "--channel", "SLACK") == []
    for asked in (("list",), ("requeue", "--failed")):
        refused = alertd(daemon, "messages", *asked, "--channel", "hok", exit_code=3)
        assert "no such channel" in refused
        assert "did you mean 'hook'?" in refused
    code, shown = at_a_terminal("messages", "list", "--url", daemon.url)
    assert (code, failed["id"] in shown, "410" in shown) == (0, True, True)
    assert "say --failed" in alertd(daemon, "messages", "requeue", exit_code=2)
    assert alertd(daemon, "messages", "requeue", "--failed", "--channel", "SLACK") == []
    assert alertd(daemon, "messages", "requeue", "--failed") == [failed["id"]]
    daemon.wait_until(lambda: daemon.history(status="SUCCESS"), "it is told")
    assert daemon.get("/api/notifications", status="FAILED")["items"] == []
    keys = {request.headers["idempotency-key"] for request in hook.received}
    assert keys == {failed["id"]}
    again = alertd(daemon, "messages", "requeue", failed["id"], exit_code=3)
    assert "SUCCESS" in again
    requeue = f"/api/notifications/{failed['id']}/requeue"
    assert daemon.client.post(requeue).status_code == 409


def test_when_a_receiver_is_back_what_waits_for_it_is_told_at_once_or_when_somebody_asks(
    tmp_path: Path, hook: HttpReceiver
) -> None:
    patient = "[notify]\nretry_first_secs = 600\nretry_max_secs = 600"
    config = NOTIFY.format(url=hook.url()).replace("[notify]", patient)
    with Daemon(tmp_path, config) as daemon:
        hook.otherwise = Answer(status=503)
        for name in ("Oldest", "Older"):
            daemon.post_rule(name=name, **RULE)
        fire(daemon)
        hook.wait_for(2)
        daemon.wait_until(lambda: len(refused(daemon)) == 2, "both are refused")
        failing = "failingChannels"
        daemon.wait_until(lambda: daemon.get("/api/status")[failing], "the channel is named")
        [channel] = daemon.get("/api/status")[failing]
        assert (channel["channel"], channel["endpoint"], channel["waiting"]) == ("hook", None, 2)
        assert "503" in channel["lastError"]
        hook.otherwise = Answer()
        daemon.post_rule(name="New", **RULE)
        daemon.wait_until(lambda: len(daemon.history(status="SUCCESS")) == 3, "all are told")
        assert daemon.get("/api/status")[failing] == []
        hook.otherwise = Answer(status=503)
        daemon.post_rule(name="Newest", **RULE)
        daemon.wait_until(lambda: refused(daemon), "it is refused")
        hook.otherwise = Answer()
        [waiting] = refused(daemon)
        assert alertd(daemon, "messages", "requeue", "--waiting") == [waiting["id"]]
        daemon.wait_until(lambda: len(daemon.history(status="SUCCESS")) == 4, "all are told")
        told = [json.loads(request.body)["incidents"][0]["ruleName"] for request in hook.received]
        assert sorted(told[:2]) == ["Older", "Oldest"]
        assert told[2] == "New"
        assert sorted(told[3:5]) == ["Older", "Oldest"]
        assert told[5:] == ["Newest", "Newest"]


def refused(daemon: Daemon) -> list[dict[str, Any]]:
    """Return the messages that have been refused, and wait."""
    waiting = daemon.get("/api/notifications", status="RETRY_PENDING")["items"]
    return [one for one in waiting if one["attempts"]]


def test_what_flaps_is_told_so_once_and_shown_until_it_is_stable(
    tmp_path: Path, hook: HttpReceiver
) -> None:
    config = NOTIFY.format(url=hook.url()).replace(
        "[notify]", "[notify]\nflapping_changes = 4\nflapping_stable_secs = 5"
    )
    with Daemon(tmp_path, config) as daemon:
        rule = {**RULE, "type": "MOVING_WINDOW", "aggregate": "last"}
        rule_id = daemon.post_rule(name="Logins", **rule)["id"]
        for place in range(11):
            value = 0 if place % 2 else 5
            daemon.post_events(
                [{"metricName": "logins", "value": value, "labels": {"service": "payment"}}]
            )
            daemon.wait_until_told()
        assert told(hook.received) == [
            *["firing", "resolved"] * 2, "flapping"
        ]  # fmt: skip
        [firing] = daemon.get("/api/incidents", state="firing")["items"]
        assert firing["flapping"]
        lines = daemon.get(f"/api/incidents/{firing['id']}")["timeline"]
        assert "more than 4 times within 10 min" in lines[-1]["detail"]
        [flapping] = daemon.get("/api/status")["flapping"]
        assert (flapping["ruleId"], flapping["ruleName"]) == (rule_id, "Logins")
        assert (flapping["groupLabels"], flapping["changes"]) == ({"service": "payment"}, 11)
        daemon.stop()
        daemon.start()
        daemon.wait_until(lambda: len(hook.received) > 5, "it is stable")
        daemon.wait_until_told()
        assert sorted(told(hook.received[5:])) == ["firing", "resolved"]
        assert daemon.get("/api/status")["flapping"] == []
        [firing] = daemon.get("/api/incidents", state="firing")["items"]
        assert not firing["flapping"]


def told(messages: Sequence[Received]) -> list[str]:
    """Return what each incident of each message is told to be; a report stands for its incident."""
    bodies = [json.loads(message.body) for message in messages]
    return [
        state
        for body in bodies
        for state in (
            ["flapping"]
            if body["kind"] == "flapping"
            else [incident["state"] for incident in body["incidents"]]
        )
    ]


def test_a_reload_tells_by_the_new_routes_and_what_the_old_mutes_held_back(
    tmp_path: Path, hook: HttpReceiver
) -> None:
    config = NOTIFY.format(url=hook.url())
    always = '[[mute]]\nname = "always"\nstart = "00:00"\nend = "24:00"\n'
    route = '[[route]]\nchannels = ["hook"]\n'
    with Daemon(tmp_path, config + always) as daemon:
        daemon.post_rule(name="Logins", **RULE)
        daemon.post_rule(name="Of nobody", **{**RULE, "metricName": "logouts", "notifications": []})
        fire(daemon)
        [incident] = daemon.get("/api/incidents")["items"]
        daemon.write_config(config + always.replace('"24:00"', '"25:00"'))
        assert daemon.client.post("/api/reload").status_code == 422
        lines = daemon.get(f"/api/incidents/{incident['id']}")["timeline"]
        assert lines[-1]["what"] == "muted"
        assert hook.received == []
        daemon.write_config(config + route)
        daemon.signal(signal.SIGHUP)
        hook.wait_for(1)
        daemon.post_events([{"metricName": "logouts", "labels": {"service": "a"}}] * 2)
        hook.wait_for(2)
        assert told(hook.received) == ["firing", "firing"]

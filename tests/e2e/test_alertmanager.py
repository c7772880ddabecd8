"""Alertmanager itself: alertd feeds it, and writes the webhook that it writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.alertmanager import Alertmanager, needs_alertmanager
from tests.e2e.daemon import Daemon
from tests.receivers import HttpReceiver, http_receiver

pytestmark = needs_alertmanager

EXTERNAL_URL = "http://alertd.example:9470"
HOSTILE = 'Logins: "<&>" \\ é'
"""A name in which Go escapes what other encoders do not."""
CONFIG = """
public_url = "{external_url}"
[notify]
group_interval_secs = 0
[channels.peer]
type = "alertmanager"
url = "{alertmanager}"
resend_interval_secs = 1
[channels.own]
type = "webhook"
format = "alertmanager"
url = "{own}"
"""
RULE = {
    "type": "SIMPLE_COUNT",
    "metricName": "logins",
    "threshold": 1,
    "windowDurationSecs": 3600,
    "groupBy": ["service", "k8s.io/zone"],
    "severity": "critical",
    "runbookUrl": "https://runbooks.example/?a=1&b=2",
    "notifications": [{"channel": "peer"}, {"channel": "own"}],
}


@pytest.fixture
def hooks() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def peer(tmp_path: Path, hooks: HttpReceiver) -> Iterator[Alertmanager]:
    with Alertmanager(tmp_path / "am", hooks.url("/theirs"), EXTERNAL_URL) as running:
        yield running


@pytest.fixture
def daemon(tmp_path: Path, hooks: HttpReceiver, peer: Alertmanager) -> Iterator[Daemon]:
    config = CONFIG.format(external_url=EXTERNAL_URL, alertmanager=peer.url, own=hooks.url("/ours"))
    minimal = '[server]\nbind = "127.0.0.1:0"\nshutdown_grace_secs = 1\n'
    logging = '[logging]\nformat = "json"\nlevel = "debug"\n'
    with Daemon(tmp_path, config + logging, minimal=minimal) as running:
        yield running


def fire(daemon: Daemon, service: str) -> None:
    labels = {"service": service, "k8s.io/zone": "a"}
    daemon.post_events([{"metricName": "logins", "labels": labels}] * 2)
    daemon.wait_until_told()


def test_what_fires_is_shown_by_it_survives_its_restart_and_goes_when_it_ends(
    daemon: Daemon, peer: Alertmanager
) -> None:
    rule = daemon.post_rule(name="Logins", **RULE)
    fire(daemon, "pay")
    [alert] = peer.alerts()
    assert alert["labels"] == {
        "alertname": "Logins",
        "severity": "critical",
        "service": "pay",
        "k8s_io_zone": "a",
    }
    assert alert["annotations"]["runbook_url"] == RULE["runbookUrl"]
    [incident] = daemon.history()
    began = datetime.fromisoformat(incident["startedAt"])
    assert datetime.fromisoformat(alert["startsAt"]) - began < timedelta(milliseconds=1)
    assert datetime.fromisoformat(alert["endsAt"]) > datetime.now(UTC) + timedelta(minutes=55)
    assert alert["generatorURL"] == f"{EXTERNAL_URL}/api/incidents/{incident['id']}"
    peer.kill()
    peer.start()
    peer.wait_until(peer.alerts, "it is told again what it has forgotten")
    daemon.stop()
    daemon.start()
    assert daemon.client.delete(f"/api/alerts/{rule['id']}").status_code == 204
    peer.wait_until(lambda: not peer.alerts(), "what has ended is gone")


def test_what_began_and_ended_while_it_was_down_is_over_when_it_is_back(
    daemon: Daemon, peer: Alertmanager
) -> None:
    rule = daemon.post_rule(name="Logins", **RULE)
    fire(daemon, "first")
    peer.kill()
    daemon.post_events(
        [{"metricName": "logins", "labels": {"service": "second", "k8s.io/zone": "a"}}] * 2
    )
    daemon.wait_until_judged()
    assert daemon.client.delete(f"/api/alerts/{rule['id']}").status_code == 204
    peer.start()
    daemon.wait_until_told()
    assert peer.alerts() == []


def test_the_webhook_in_its_format_is_the_one_that_it_sends_byte_for_byte(
    daemon: Daemon, hooks: HttpReceiver
) -> None:
    rule = daemon.post_rule(name=HOSTILE, **RULE)
    fire(daemon, 'pay <&> "\t\u2028')
    theirs, ours = sorted(hooks.wait_for(2), key=lambda request: request.path, reverse=True)
    assert (theirs.path, ours.path) == ("/theirs", "/ours")
    assert json.loads(theirs.body)["status"] == "firing"
    assert ours.body == theirs.body
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert daemon.client.delete(f"/api/alerts/{rule['id']}").status_code == 204
    theirs, ours = sorted(hooks.wait_for(4)[2:], key=lambda request: request.path, reverse=True)
    assert json.loads(theirs.body)["status"] == "resolved"
    assert ours.body == theirs.body

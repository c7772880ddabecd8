"""The main job: events in, an alert out over every channel, its history back.

A real process, a real port, a real SMTP server with STARTTLS and login, real HTTP receivers.
Event times lie ten minutes in the past and event time drives everything, so nothing waits:
later events of the same group make windows slide, close and resolve.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.brute_force import US
from tests.e2e.daemon import Daemon, to_rfc3339
from tests.receivers import (
    Answer,
    Authority,
    HttpReceiver,
    Received,
    SmtpReceiver,
    http_receiver,
    make_authority,
    smtp_receiver,
)

SECRET = "a key that only the two ends know"
PASSWORD = "p4ssword of the mailbox"
T0_US = (time.time_ns() // 1000 // (60 * US) - 10) * 60 * US
"""A whole minute, ten minutes ago."""

CHANNELS = """
[channels.hook]
type = "webhook"
url = "{hook}"
secret_env = "HOOK_SECRET"
[channels.chat]
type = "slack"
url = "{chat}"
[channels.mail]
type = "email"
host = "127.0.0.1"
port = {smtp_port}
from = "alertd <alertd@example.org>"
to = ["ops@example.org"]
tls = "starttls"
username = "alertd"
password_env = "MAIL_PASSWORD"
ca_file = "{ca_file}"
[notify]
allow_private_endpoints = true
retry_first_secs = 0.05
retry_max_secs = 0.1
"""

RULES = """
[[rules]]
name = "Too many errors"
type = "SIMPLE_COUNT"
metric_name = "error_count"
threshold = 3
window_duration_secs = 10
group_by = ["service"]
allowed_lateness_secs = 1
severity = "critical"
runbook_url = "https://runbooks.example.org/errors"
notifications = ["hook", "chat", "mail"]
[[rules]]
name = "CPU is busy"
type = "MOVING_WINDOW"
aggregate = "avg"
metric_name = "cpu_percent"
threshold = 80
window_duration_secs = 60
group_by = ["host"]
allowed_lateness_secs = 60
notifications = ["hook", "chat", "mail"]
[[rules]]
name = "Much traffic in a minute"
type = "BUCKETED_WINDOW"
aggregate = "sum"
metric_name = "sent_bytes"
threshold = 1000
window_duration_secs = 60
group_by = ["host"]
allowed_lateness_secs = 1
notifications = ["hook", "chat", "mail"]
"""


@dataclass(frozen=True)
class Site:
    """A daemon and everybody that it tells."""

    daemon: Daemon
    hook: HttpReceiver
    chat: HttpReceiver
    mail: SmtpReceiver


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority()


@pytest.fixture
def site(tmp_path: Path, authority: Authority) -> Iterator[Site]:
    with running_site(tmp_path, authority) as site:
        yield site


@contextmanager
def running_site(folder: Path, authority: Authority) -> Iterator[Site]:
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(authority.ca_pem)
    with (
        http_receiver() as hook,
        http_receiver() as chat,
        smtp_receiver(tls="starttls", context=authority.server, login=("alertd", PASSWORD)) as mail,
    ):
        config = CHANNELS.format(
            hook=hook.url("/in/here"), chat=chat.url("/services/T/B/x"), smtp_port=mail.port,
            ca_file=ca_file,
        )  # fmt: skip
        environ = {"HOOK_SECRET": SECRET, "MAIL_PASSWORD": PASSWORD}
        with Daemon(folder, config + RULES, environ=environ) as daemon:
            yield Site(daemon, hook, chat, mail)


def at(seconds: float) -> str:
    """Return the instant ``seconds`` after ``T0_US``."""
    return to_rfc3339(T0_US + round(seconds * US))


def events(metric: str, labels: dict[str, str], *points: tuple[float, float]) -> list[Any]:
    """Return events at (seconds after ``T0_US``, value)."""
    return [
        {"metricName": metric, "timestamp": at(seconds), "value": value, "labels": labels}
        for seconds, value in points
    ]


BREACHES = [
    # The fourth within ten seconds is one too many; three of another service are not.
    *events("error_count", {"service": "payment"}, (0, 1), (2, 1), (4, 1), (6, 1)),
    *events("error_count", {"service": "search"}, (0, 1), (2, 1), (4, 1)),
    # (70 + 100) / 2 is above 80; the other host stays below.
    *events("cpu_percent", {"host": "web-1"}, (0, 70), (10, 100)),
    *events("cpu_percent", {"host": "web-2"}, (0, 70), (10, 90)),
    # 600 + 600 bytes in the first minute, which closes with the event behind it.
    *events("sent_bytes", {"host": "web-1"}, (5, 600), (30, 600), (70, 10)),
    *events("sent_bytes", {"host": "web-2"}, (5, 600), (30, 400), (70, 1200)),
]
RECOVERIES = [
    # The first error leaves its window at 10 s.
    *events("error_count", {"service": "payment"}, (60, 1)),
    # (70 + 100 + 20) / 3 is below 80.
    *events("cpu_percent", {"host": "web-1"}, (20, 20)),
    # The second minute has 10 bytes.
    *events("sent_bytes", {"host": "web-1"}, (130, 10)),
]
COUNTED = {
    "groupLabels": {"service": "payment"}, "severity": "critical",
    "currentValue": 4, "peakValue": 4, "threshold": 3, "operator": ">",
    "startedAt": at(6), "firedAt": at(6), "endedAt": at(10), "eventTime": at(6),
    "windowStart": at(-4), "windowEnd": at(6),
}  # fmt: skip
AVERAGED = {
    "groupLabels": {"host": "web-1"}, "severity": "warning",
    "currentValue": 85, "peakValue": 85, "threshold": 80, "operator": ">",
    "startedAt": at(10), "firedAt": at(10), "endedAt": at(20), "eventTime": at(10),
    "windowStart": at(-50), "windowEnd": at(10),
}  # fmt: skip
SUMMED = {
    "groupLabels": {"host": "web-1"}, "severity": "warning",
    "currentValue": 1200, "peakValue": 1200, "threshold": 1000, "operator": ">",
    "startedAt": at(60), "firedAt": at(60), "endedAt": at(120), "eventTime": at(30),
    "windowStart": at(0), "windowEnd": at(60),
}  # fmt: skip
EXPECTED = {
    "Too many errors": COUNTED,
    "CPU is busy": AVERAGED,
    "Much traffic in a minute": SUMMED,
}


@dataclass(frozen=True)
class Story:
    """What happened when each rule had fired and resolved and everybody had been told."""

    site: Site
    firing: list[dict[str, Any]]
    """``/api/incidents`` before the recoveries."""
    incidents: dict[str, dict[str, Any]]
    """The history after them, by rule."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Story]:
    with running_site(tmp_path_factory.mktemp("story"), authority) as site:
        site.daemon.post_events(BREACHES)
        site.daemon.wait_until_told()
        firing = site.daemon.get("/api/incidents", state="firing")["items"]
        site.daemon.post_events(RECOVERIES)
        site.daemon.wait_until_told()
        items = site.daemon.history()
        assert len(items) == len(EXPECTED)
        yield Story(site, firing, {item["ruleName"]: item for item in items})


def test_each_type_of_rule_fires_with_the_right_values(story: Story) -> None:
    assert sorted(item["ruleName"] for item in story.firing) == sorted(EXPECTED)
    for item in story.firing:
        expected = {**EXPECTED[item["ruleName"]], "endedAt": None}
        assert {name: item[name] for name in expected} == expected
        assert (item["state"], item["reason"], item["status"]) == ("firing", None, "SUCCESS")


def test_each_type_of_rule_resolves_with_the_right_values(story: Story) -> None:
    assert {item["id"] for item in story.firing} == {
        item["id"] for item in story.incidents.values()
    }
    for name, expected in EXPECTED.items():
        item = story.incidents[name]
        assert {field: item[field] for field in expected} == expected
        states = (item["state"], item["reason"], item["status"])
        assert states == ("resolved", "recovered", "SUCCESS")
    assert story.site.daemon.get("/api/incidents", state="firing")["items"] == []


def test_the_history_of_a_rule_says_who_was_told(story: Story) -> None:
    site, incident = story.site, story.incidents["Too many errors"]
    told = [
        (sent["channel"], sent["kind"], sent["status"], sent["attempts"], sent["lastError"])
        for sent in incident["notifications"]
    ]
    assert sorted(told) == sorted(
        (channel, kind, "SUCCESS", 1, None)
        for channel in ("hook", "chat", "mail")
        for kind in ("firing", "resolved")
    )
    assert all(sent["deliveredAt"] is not None for sent in incident["notifications"])
    of_rule = site.daemon.history(f"/api/alerts/{incident['alertId']}/history")
    assert [item["id"] for item in of_rule] == [incident["id"]]
    timeline = site.daemon.get(f"/api/incidents/{incident['id']}")["timeline"]
    assert Counter(line["what"] for line in timeline) == {
        "fired": 1,
        "resolved": 1,
        "queued": 6,
        "sent": 6,
    }


def test_a_webhook_gets_each_message_once_signed_and_in_order(story: Story) -> None:
    received, incidents = story.site.hook.received, story.incidents
    messages = [json.loads(request.body) for request in received]
    assert len(messages) == 6
    assert len({message["idempotencyKey"] for message in messages}) == 6
    for request, message in zip(received, messages, strict=True):
        assert request.path == "/in/here"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["idempotency-key"] == message["idempotencyKey"]
        assert is_signed(request)
    for name, incident in incidents.items():
        views = [
            (message["kind"], message["incidents"][0])
            for message in messages
            if message["incidents"][0]["ruleName"] == name
        ]
        assert [kind for kind, _ in views] == ["firing", "resolved"]
        (_, firing), (_, resolved) = views
        assert (firing["state"], firing["endedAt"], firing["reason"]) == ("firing", None, None)
        assert (resolved["state"], resolved["reason"]) == ("resolved", "recovered")
        assert firing["value"] == incident["currentValue"]
        for view in (firing, resolved):
            assert (view["id"], view["alertId"]) == (incident["id"], incident["alertId"])
            for field in ("groupLabels", "threshold", "operator", "severity", "startedAt",
                          "firedAt", "windowStart", "windowEnd", "eventTime",
                          "detectedBy"):  # fmt: skip
                assert view[field] == incident[field], field
        assert resolved["endedAt"] == incident["endedAt"]


def is_signed(request: Received) -> bool:
    """Check the signature as a receiver would: by the documentation, not by alertd's code."""
    fields = dict(part.split("=", 1) for part in request.headers["x-alertd-signature"].split(","))
    assert abs(int(fields["t"]) - time.time()) < 60
    signed = fields["t"].encode() + b"." + request.body
    return hmac.compare_digest(
        fields["v1"], hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    )


def test_a_link_in_a_message_leads_to_the_incident(story: Story) -> None:
    incident = story.incidents["CPU is busy"]
    links = {
        view["historyUrl"]
        for request in story.site.hook.received
        for view in json.loads(request.body)["incidents"]
        if view["id"] == incident["id"]
    }
    (link,) = links
    # Its host is the configured one: the port, which the kernel chose here, is not in it.
    assert story.site.daemon.get(urlsplit(link).path)["id"] == incident["id"]


def test_slack_gets_each_message_once_and_a_resolved_one_says_so(story: Story) -> None:
    received = story.site.chat.received
    assert len(received) == 6
    assert len({request.headers["idempotency-key"] for request in received}) == 6
    payloads = [json.loads(request.body) for request in received]
    of_rule = [payload for payload in payloads if "Too many errors" in payload["text"]]
    headlines = [payload["text"].splitlines()[0] for payload in of_rule]
    assert headlines == [
        "FIRING: Too many errors (service=payment)",
        "RESOLVED: Too many errors (service=payment)",
    ]
    firing, resolved = (payload["attachments"][0] for payload in of_rule)
    assert firing["color"] != resolved["color"]
    assert firing["blocks"][0]["text"]["text"] == "FIRING: Too many errors"
    fields = [field["text"] for field in firing["blocks"][1]["fields"]]
    assert "*Value*\n4, alert if &gt; 3" in fields
    assert resolved["blocks"][0]["text"]["text"] == "RESOLVED: Too many errors"


def test_mail_comes_encrypted_once_in_text_and_html_and_in_one_thread(story: Story) -> None:
    mails, incident = story.site.mail.mails, story.incidents["Too many errors"]
    assert len(mails) == 6
    assert {mail.user for mail in mails} == {"alertd"}
    assert all(mail.encrypted for mail in mails)
    assert all(mail.recipients == ["ops@example.org"] for mail in mails)
    messages = [mail.message for mail in mails]
    assert len({message["Message-ID"] for message in messages}) == 6
    firing, resolved = (m for m in messages if "Too many errors" in str(m["Subject"]))
    assert firing["Subject"] == "FIRING: Too many errors (service=payment)"
    assert resolved["Subject"] == "RESOLVED: Too many errors (service=payment)"
    assert firing["References"] == resolved["References"]
    assert incident["id"] in firing["References"]
    for message, value in ((firing, 4), (resolved, 3)):
        text, html = body(message, "plain"), body(message, "html")
        for part in (text, html):
            assert "service=payment" in part
            assert "https://runbooks.example.org/errors" in part
        assert f"Value: {value}, alert if > 3" in text
        assert "<html>" in html


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


QUIET = {"threshold": 0, "windowDurationSecs": 0.5, "allowedLatenessSecs": 0.1}


def test_the_clock_alone_ends_what_no_event_ends(site: Site) -> None:
    for kind, aggregate in (
        ("SIMPLE_COUNT", "count"), ("MOVING_WINDOW", "avg"), ("BUCKETED_WINDOW", "max")
    ):  # fmt: skip
        name = f"{kind} {aggregate}"
        site.daemon.post_rule(
            **QUIET, name=name, type=kind, aggregate=aggregate, metricName="quiet",
            notifications=[{"channel": "hook"}],
        )  # fmt: skip
    site.daemon.post_events(events("quiet", {}, (0.1, 7)))
    site.daemon.wait_until(
        lambda: len(site.daemon.get("/api/incidents", state="resolved")["items"]) == 3,
        "all three are over",
    )
    site.daemon.wait_until_told()
    found = {
        item["ruleName"]: (item["startedAt"], item["endedAt"], item["reason"], item["currentValue"])
        for item in site.daemon.history()
    }
    assert found == {
        "SIMPLE_COUNT count": (at(0.1), at(0.6), "recovered", 1),
        "MOVING_WINDOW avg": (at(0.1), at(0.6), "no_data", 7),  # no data is no recovery
        "BUCKETED_WINDOW max": (at(0.5), at(1), "no_data", 7),
    }
    assert len(site.hook.received) == 6


# Rules that are made over the API and name an endpoint of their own.

API_RULE = {
    "name": "made over HTTP", "type": "SIMPLE_COUNT", "metricName": "logins", "threshold": 1,
    "windowDurationSecs": 10, "allowedLatenessSecs": 3600,
}  # fmt: skip
LOGINS = events("logins", {}, (0, 1), (1, 1))


def only(items: list[dict[str, Any]]) -> dict[str, Any]:
    (item,) = items
    return item


def test_a_rule_of_the_api_tells_its_own_endpoint_without_showing_it(site: Site) -> None:
    with http_receiver() as receiver:
        endpoint = receiver.url("/secret/path")
        rule = site.daemon.post_rule(
            **API_RULE, notifications=[{"channel": "WEBHOOK", "endpoint": endpoint}]
        )
        site.daemon.post_events(LOGINS)
        site.daemon.wait_until_told()
        item = only(site.daemon.history(f"/api/alerts/{rule['id']}/history"))
        assert item["status"] == "SUCCESS"
        assert item["currentValue"] == 2
        message = json.loads(only_received(receiver).body)
        assert message["incidents"][0]["id"] == item["id"]
        assert "x-alertd-signature" not in only_received(receiver).headers
        shown = json.dumps([rule, item, site.daemon.get("/api/alerts")])
        assert "/secret/path" not in shown
        assert f"127.0.0.1:{receiver.port}" in shown
        assert "/secret/path" not in json.dumps(site.daemon.lines)


def only_received(receiver: HttpReceiver) -> Received:
    (request,) = receiver.received
    return request


def test_a_rule_of_the_api_mails_through_the_configured_server(site: Site) -> None:
    target = {"channel": "EMAIL", "endpoint": "someone@example.org"}
    site.daemon.post_rule(**API_RULE, notifications=[target])
    site.daemon.post_events(LOGINS)
    site.daemon.wait_until_told()
    (mail,) = site.mail.mails
    assert mail.recipients == ["someone@example.org"]


def test_a_failing_receiver_is_tried_until_it_takes_the_message_always_with_one_key(
    site: Site,
) -> None:
    with http_receiver() as receiver:
        receiver.otherwise = Answer(status=503)
        rule = site.daemon.post_rule(
            **API_RULE, notifications=[{"channel": "WEBHOOK", "endpoint": receiver.url()}]
        )
        history = f"/api/alerts/{rule['id']}/history"
        site.daemon.post_events(LOGINS)
        receiver.wait_for(2)
        pending = only(site.daemon.history(history))
        assert pending["status"] == "RETRY_PENDING"
        assert "503" in pending["notifications"][0]["lastError"]

        receiver.otherwise = Answer()
        site.daemon.wait_until_told()
        told = only(site.daemon.history(history))
        assert told["status"] == "SUCCESS"
        attempts = told["notifications"][0]["attempts"]
        assert attempts == len(receiver.received) >= 3
        assert len({request.headers["idempotency-key"] for request in receiver.received}) == 1
        bodies = [json.loads(request.body) for request in receiver.received]
        assert all(body | {"sentAt": ""} == bodies[0] | {"sentAt": ""} for body in bodies)
        timeline = site.daemon.get(f"/api/incidents/{told['id']}")["timeline"]
        whats = [line["what"] for line in timeline]
        assert whats == ["fired", "queued", *["retry"] * (attempts - 1), "sent"]


def test_a_receiver_that_says_never_is_asked_once(site: Site) -> None:
    with http_receiver() as receiver:
        receiver.otherwise = Answer(status=404)
        rule = site.daemon.post_rule(
            **API_RULE, notifications=[{"channel": "WEBHOOK", "endpoint": receiver.url()}]
        )
        site.daemon.post_events(LOGINS)
        site.daemon.wait_until_told()
        item = only(site.daemon.history(f"/api/alerts/{rule['id']}/history", status="FAILED"))
        assert item["status"] == "FAILED"
        assert item["notifications"][0]["attempts"] == 1
        assert item["notifications"][0]["deliveredAt"] is None
        assert "404" in item["notifications"][0]["lastError"]
        assert len(receiver.received) == 1


def test_one_receiver_that_is_down_keeps_nothing_from_the_others(site: Site) -> None:
    site.hook.otherwise = Answer(status=500)
    site.daemon.post_events(BREACHES)
    site.chat.wait_for(3)
    site.mail.wait_for(3)
    site.hook.wait_for(3)
    assert {item["status"] for item in site.daemon.history()} == {"RETRY_PENDING"}
    site.hook.otherwise = Answer()
    site.daemon.wait_until_told()
    assert {item["status"] for item in site.daemon.history()} == {"SUCCESS"}
    assert len(site.chat.received) == len(site.mail.mails) == 3

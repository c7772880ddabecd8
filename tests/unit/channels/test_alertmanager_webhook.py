"""The body of Alertmanager's webhook, version 4."""

from __future__ import annotations

import json

from msgspec import structs

from alertd.channels.alert import alert_labels, fingerprint
from alertd.channels.alertmanager_webhook import encode, go_quote
from alertd.channels.message import MessageKind
from tests.unit.channels.messages import incident, message, resolved


def test_the_body_is_the_one_that_its_receivers_know_byte_for_byte() -> None:
    sent = structs.replace(
        message(),
        group_labels={"ruleName": "High Error Count"},
        list_url="http://127.0.0.1:9470/api/incidents?state=firing",
    )
    expected = (
        '{"receiver":"ops","status":"firing","alerts":[{"status":"firing","labels":'
        '{"alertname":"High Error Count","service":"payment","severity":"critical"},'
        '"annotations":{"runbook_url":"https://runbooks.example/errors?a=1\\u0026b=2",'
        '"summary":"High Error Count: service=payment has 137 \\u003e 100"},'
        '"startsAt":"2025-06-30T15:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":'
        '"http://127.0.0.1:9470/api/incidents/6f1c2d4e-0000-5000-8000-000000000001",'
        f'"fingerprint":"{fingerprint(json.loads(encode(sent, "ops"))["alerts"][0]["labels"])}"}}],'
        '"groupLabels":{"alertname":"High Error Count"},'
        '"commonLabels":{"alertname":"High Error Count","service":"payment","severity":"critical"},'
        '"commonAnnotations":{"runbook_url":"https://runbooks.example/errors?a=1\\u0026b=2",'
        '"summary":"High Error Count: service=payment has 137 \\u003e 100"},'
        '"externalURL":"http://127.0.0.1:9470","version":"4",'
        '"groupKey":"{}:{alertname=\\"High Error Count\\"}","truncatedAlerts":0}\n'
    )
    assert encode(sent, "ops").decode() == expected


def test_a_fingerprint_is_fnv_1a_over_the_sorted_labels() -> None:
    """Of no labels it is the offset of FNV-1a, as ``prometheus/common`` has it."""
    assert fingerprint({}) == "cbf29ce484222325"
    assert fingerprint({"b": "2", "a": "1"}) == fingerprint({"a": "1", "b": "2"})
    assert fingerprint({"a": "12"}) != fingerprint({"a1": "2"})


def test_no_label_is_lost_or_changes_what_another_one_says() -> None:
    """As Prometheus does it: other characters become ``_``, what is taken is ``exported_``."""
    labels = {"severity": "high", "k8s.io/zone": "a", "k8s_io_zone": "b", "9": "c", "none": ""}
    assert alert_labels(incident(group_labels=labels)) == {
        "alertname": "High Error Count",
        "severity": "critical",
        "exported_severity": "high",
        "k8s_io_zone": "a",
        "exported_k8s_io_zone": "b",
        "_9": "c",
    }


def test_a_group_is_quoted_as_go_does_it() -> None:
    text = 'a"b\\ \n\x01 é \u2028 \U0001f600 \U000e0001'
    assert go_quote(text) == '"a\\"b\\\\ \\n\\x01 é \\u2028 \U0001f600 \\U000e0001"'


def test_alerts_are_sorted_by_job_instance_and_labels() -> None:
    places = [{"instance": "b"}, {"job": "a"}, {"x": "2", "y": "1"}, {"x": "3"}, {"x": "1"}]
    views = [incident(id=str(n), group_labels=place) for n, place in enumerate(places)]
    body = json.loads(encode(message(*views), "ops"))
    shown = [alert["generatorURL"].rpartition("/")[2] for alert in body["alerts"]]
    assert shown == ["4", "3", "2", "0", "1"]


def test_an_incident_is_one_alert_as_it_is_in_the_end() -> None:
    first, second = (incident(id=name, group_labels={"host": name}) for name in "ab")
    sent = message(first, second, resolved(), incident(), kind=MessageKind.FIRING)
    body = json.loads(encode(sent, "ops"))
    assert [alert["status"] for alert in body["alerts"]] == ["firing", "firing", "firing"]
    assert body["commonLabels"] == {"alertname": "High Error Count", "severity": "critical"}
    ended = json.loads(encode(message(incident(), resolved()), "ops"))
    assert (ended["status"], len(ended["alerts"])) == ("resolved", 1)
    assert ended["alerts"][0]["endsAt"] == "2025-06-30T15:07:00Z"
    assert ended["alerts"][0]["annotations"]["reason"] == "recovered"

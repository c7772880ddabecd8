from __future__ import annotations

import pytest
from msgspec import structs

from alertd.model import Incident, Operator, Severity
from alertd.outbound import DeliveryStatus, Told
from alertd.store.history import HistoryItem, IncidentDetail, NotificationItem, Page
from alertd.store.incident_query import HistoryQuery, IncidentState
from alertd.store.timeline import TimelineEntry, TimelineEvent
from tests.unit.http.fakes import Site
from tests.unit.http.test_rules import MINIMAL

T = 1_751_295_600_000_000

INCIDENT = Incident(
    id="i1",
    rule_id="r1",
    rule_version=3,
    group=(("service", "payment"),),
    started_us=T,
    fired_us=T + 5,
    value=101.0,
    peak_value=250.5,
    window_start_us=T - 300_000_000,
    window_end_us=T + 5,
    event_time_us=T + 4,
    detected_us=T + 1_000_000,
    late_by_us=1_500_000,
)
SENT = NotificationItem(
    id="n1",
    kind="firing",
    channel="WEBHOOK",
    endpoint="https://example.org/hook?token=secret",
    message_id="m1",
    status=DeliveryStatus.SUCCESS,
    attempts=2,
    created_us=T,
    next_attempt_us=T,
    last_error=None,
    settled_us=T + 7,
)
FAILED = structs.replace(
    SENT,
    id="n2",
    channel="ops",
    endpoint=None,
    status=DeliveryStatus.FAILED,
    last_error="HTTP 404",
)
ITEM = HistoryItem(
    incident=INCIDENT,
    rule_name="High Error Count",
    severity=Severity.CRITICAL,
    threshold=100.0,
    operator=Operator.GT,
    summary="101 > 100",
    status=DeliveryStatus.FAILED,
    told=Told.DELIVERED,
    acked_us=T + 8,
    acked_by="ann",
    notifications=(SENT, FAILED),
)


async def test_an_item_of_the_history_has_the_columns_and_redacted_endpoints() -> None:
    site = Site()
    site.incidents.page = Page((ITEM,), "next")
    answer = await site.send("GET", "/api/history")
    assert answer.body["nextCursor"] == "next"
    (item,) = answer.body["items"]
    first, second = item.pop("notifications")
    assert item == {
        "id": "i1",
        "alertId": "r1",
        "ruleName": "High Error Count",
        "severity": "critical",
        "state": "firing",
        "status": "FAILED",
        "told": "delivered",
        "triggeredAt": "2025-06-30T15:00:01.000000Z",
        "eventTime": "2025-06-30T15:00:00.000004Z",
        "startedAt": "2025-06-30T15:00:00.000000Z",
        "firedAt": "2025-06-30T15:00:00.000005Z",
        "endedAt": None,
        "reason": None,
        "flapping": False,
        "acknowledgedAt": "2025-06-30T15:00:00.000008Z",
        "acknowledgedBy": "ann",
        "currentValue": 101.0,
        "peakValue": 250.5,
        "threshold": 100.0,
        "operator": ">",
        "windowStart": "2025-06-30T14:55:00.000000Z",
        "windowEnd": "2025-06-30T15:00:00.000005Z",
        "lateBy": 1.5,
        "detectedBy": "stream",
        "groupLabels": {"service": "payment"},
        "message": "101 > 100",
        "details": {"ruleVersion": 3, "continues": None, "mergedInto": None},
    }
    assert (first["endpoint"], first["deliveredAt"]) == (
        "https://example.org/…",
        "2025-06-30T15:00:00.000007Z",
    )
    assert (second["endpoint"], second["deliveredAt"]) == (None, None)
    assert (second["status"], second["lastError"]) == ("FAILED", "HTTP 404")


async def test_an_incident_is_shown_with_its_timeline() -> None:
    site = Site()
    site.incidents.details["i1"] = IncidentDetail(
        structs.replace(ITEM, incident=structs.replace(INCIDENT, ended_us=T + 9)),
        (TimelineEntry(T + 5, TimelineEvent.FIRED, "101 > 100"),),
    )
    answer = await site.send("GET", "/api/incidents/i1")
    assert (answer.body["id"], answer.body["state"]) == ("i1", "resolved")
    assert answer.body["timeline"] == [
        {
            "at": "2025-06-30T15:00:00.000005Z",
            "what": "fired",
            "detail": "101 > 100",
            "notificationId": None,
        }
    ]
    assert (await site.send("GET", "/api/incidents/none")).status == 404


async def test_filters_reach_the_store() -> None:
    site = Site()
    made = await site.send("POST", "/api/alerts", MINIMAL)
    path = f"/api/alerts/{made.body['id']}/history"
    query = (
        "from=2025-06-30T17:00:00+02:00&to=1751295601.5"
        "&status=RETRY_PENDING&told=held_back&state=firing&limit=7&cursor=abc"
    )
    assert (await site.send("GET", f"{path}?{query}")).status == 200
    assert (await site.send("GET", "/api/incidents?state=resolved")).status == 200
    of_rule, of_all = site.incidents.queries
    assert of_rule == HistoryQuery(
        rule_id=made.body["id"],
        from_us=T,
        to_us=T + 1_500_000,
        status=DeliveryStatus.RETRY_PENDING,
        told=Told.HELD_BACK,
        state=IncidentState.FIRING,
        limit=7,
        cursor="abc",
    )
    assert of_all == HistoryQuery(state=IncidentState.RESOLVED)


async def test_the_history_of_a_deleted_rule_stays_and_of_an_unknown_one_is_404() -> None:
    site = Site()
    assert (await site.send("GET", "/api/alerts/r1/history")).status == 404
    site.incidents.page = Page((ITEM,), None)
    assert (await site.send("GET", "/api/alerts/r1/history")).status == 200


@pytest.mark.parametrize(
    "query",
    [
        *("from=noon", "to=1751295600123", "status=OK", "state=on", "stat=firing", "limit=-1"),
        *("told=yes", "told=", "told=failed&told=pending"),
    ],
)
async def test_a_wrong_filter_is_named_and_not_ignored(query: str) -> None:
    site = Site()
    for path in ("/api/history", "/api/incidents", "/api/alerts/r1/history"):
        answer = await site.send("GET", f"{path}?{query}")
        assert answer.status == 400
        assert set(answer.errors) == {"/" + query.partition("=")[0]}
    assert not site.incidents.queries


async def test_who_asks_for_what_was_never_told_learns_the_words() -> None:
    answer = await Site().send("GET", "/api/incidents?told=FAILED")
    assert answer.errors == {
        "/told": "must be one of delivered, pending, failed, held_back, nobody"
    }

"""``/api/notifications``: what is shown of a message, and what may be asked."""

from __future__ import annotations

import pytest
from msgspec import structs

from alertd.model import DeliveryStatus, Target
from alertd.store.deliveries import Delivery, DeliveryQuery
from tests.unit.http.fakes import Site

T = 1_751_295_600_000_000
FAILED = Delivery(
    id="m1",
    target=Target("WEBHOOK", "https://example.org/hook?token=secret"),
    group_key='{"ruleName":"High Error Count"}',
    kinds=("firing", "resolved"),
    status=DeliveryStatus.FAILED,
    attempts=7,
    last_error="example.org answered 410",
    created_us=T,
    next_attempt_us=T + 5,
    settled_us=T + 7,
    incident_count=2,
    incidents=("i1", "i2"),
)


async def test_a_message_is_shown_with_what_it_tells_and_without_secrets() -> None:
    site = Site()
    site.outbox.items = [FAILED]
    answer = await site.send("GET", "/api/notifications?status=FAILED&channel=ops&limit=5")
    assert answer.status == 200
    assert answer.body == {
        "items": [
            {
                "id": "m1",
                "channel": "WEBHOOK",
                "endpoint": "https://example.org/…",
                "groupKey": '{"ruleName":"High Error Count"}',
                "kinds": ["firing", "resolved"],
                "status": "FAILED",
                "attempts": 7,
                "lastError": "example.org answered 410",
                "createdAt": "2025-06-30T15:00:00.000000Z",
                "nextAttemptAt": None,
                "deliveredAt": None,
                "failedAt": "2025-06-30T15:00:00.000007Z",
                "incidentCount": 2,
                "incidents": ["i1", "i2"],
            }
        ],
        "nextCursor": None,
    }
    assert site.outbox.queries == [
        DeliveryQuery(status=DeliveryStatus.FAILED, channel="ops", limit=5)
    ]


@pytest.mark.parametrize("query", ["status=failed", "limit=0", "since=1"])
async def test_a_filter_that_is_wrong_is_an_error_and_not_ignored(query: str) -> None:
    answer = await Site().send("GET", f"/api/notifications?{query}")
    assert answer.status == 400
    assert list(answer.errors) == [f"/{query.partition('=')[0]}"]


async def test_only_what_has_failed_can_be_sent_again() -> None:
    site = Site()
    site.outbox.items = [FAILED]
    answer = await site.send("POST", "/api/notifications/m1/requeue")
    assert (answer.status, answer.body) == (202, {"id": "m1", "status": "RETRY_PENDING"})
    assert (await site.send("POST", "/api/notifications/m2/requeue")).status == 404
    site.outbox.items = [structs.replace(FAILED, status=DeliveryStatus.SUCCESS)]
    refused = await site.send("POST", "/api/notifications/m1/requeue")
    assert refused.status == 409
    assert "SUCCESS" in refused.body["detail"]
    assert "alertd_notifications_requeued_total 1.0" in site.metrics.render().decode()

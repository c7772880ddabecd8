"""``/api/notifications``: what is shown of a message, and what may be asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import trio

from alertd.errors import Conflict, NotFound
from alertd.model import Target
from alertd.notify.matchers import Reach
from alertd.outbound import DeliveryStatus
from alertd.rules import RuleSpec
from alertd.store.deliveries import Delivery, DeliveryQuery
from alertd.store.history import Page
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


async def test_a_channel_that_there_is_not_is_an_error_with_a_hint() -> None:
    site = Site()
    known = "known are EMAIL, SLACK, WEBHOOK, ops"
    for name, hint in (("opps", "did you mean 'ops'?"), ("zzz", known)):
        answer = await site.send("GET", f"/api/notifications?channel={name}")
        message = f"there is no such channel, and no message of one; {hint}"
        assert (answer.status, answer.errors) == (400, {"/channel": message})
    for name in ("ops", "EMAIL"):
        answer = await site.send("GET", f"/api/notifications?channel={name}")
        assert (answer.status, answer.body["items"]) == (200, [])


async def test_what_was_told_over_a_channel_that_is_no_longer_configured_can_be_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site()

    async def delivered(query: DeliveryQuery) -> Page[Delivery]:
        await trio.lowlevel.checkpoint()
        return Page(() if query.status is DeliveryStatus.FAILED else (FAILED,), None)

    monkeypatch.setattr(site.outbox, "page", delivered)
    for query, count in (("channel=old", 1), ("channel=old&status=FAILED", 0)):
        answer = await site.send("GET", f"/api/notifications?{query}")
        assert (answer.status, len(answer.body["items"])) == (200, count)


@pytest.mark.parametrize("query", ["status=failed", "limit=0", "since=1"])
async def test_a_filter_that_is_wrong_is_an_error_and_not_ignored(query: str) -> None:
    answer = await Site().send("GET", f"/api/notifications?{query}")
    assert answer.status == 400
    assert list(answer.errors) == [f"/{query.partition('=')[0]}"]


async def test_a_failed_message_is_sent_again_on_request() -> None:
    site = Site()
    answer = await site.send("POST", "/api/notifications/m1/requeue")
    assert (answer.status, answer.body) == (202, {"id": "m1", "status": "RETRY_PENDING"})
    assert site.notifier.asked == [("requeue", "m1")]
    site.notifier.failure = Conflict("it is SUCCESS")
    assert (await site.send("POST", "/api/notifications/m1/requeue")).status == 409
    site.notifier.failure = NotFound("there is none")
    assert (await site.send("POST", "/api/notifications/m1/requeue")).status == 404


INCIDENT_PATH = "/api/incidents/i1/ack"


async def test_an_incident_is_acknowledged_with_or_without_a_name() -> None:
    site = Site()
    assert (await site.send("POST", INCIDENT_PATH, {"by": "ann"})).status == 404
    await site.send("POST", INCIDENT_PATH, content_type=None)
    assert site.notifier.asked == [("acknowledge", "i1", "ann"), ("acknowledge", "i1", "")]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"by": 1}, "/by"),
        ({"who": "ann"}, "/who"),
        ({"by": "a\nb"}, "/by"),
        ({"by": "a" * 201}, "/by"),
    ],
)
async def test_an_acknowledgement_that_is_wrong_says_where(
    body: dict[str, object], path: str
) -> None:
    site = Site()
    answer = await site.send("POST", INCIDENT_PATH, body)
    assert answer.status in (400, 422)
    assert list(answer.errors) == [path]
    assert site.notifier.asked == []


SILENCE = {
    "matchers": {"ruleName": "High Error Count", "host": "=~web-.*", "zone": "!=eu"},
    "endsAt": "2025-06-30T17:00:00Z",
    "createdBy": "ann",
    "comment": "deploy",
}


async def test_a_silence_is_made_listed_and_ended() -> None:
    site = Site()
    made = await site.send("POST", "/api/silences", SILENCE)
    assert (made.status, made.headers["Location"]) == (201, "/api/silences/s0")
    assert made.body == {
        "id": "s0",
        "state": "active",
        "startsAt": "2025-06-30T15:00:00.000000Z",
        "createdAt": "2025-06-30T15:00:00.000000Z",
        **SILENCE,
        "endsAt": "2025-06-30T17:00:00.000000Z",
        "warnings": [],
    }
    del made.body["warnings"]
    assert (await site.send("GET", "/api/silences/s0")).body == made.body
    assert (await site.send("GET", "/api/silences")).body["items"] == [made.body]
    ended = await site.send("DELETE", "/api/silences/s0")
    assert (ended.status, ended.body["state"]) == (200, "expired")
    assert (await site.send("GET", "/api/silences/none")).status == 404


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"endsAt": "tomorrow"}, "/endsAt"),
        ({"startsAt": "0"}, "/startsAt"),
        ({"matchers": None}, "/matchers"),
        ({"until": "x"}, "/until"),
    ],
)
async def test_a_silence_that_is_wrong_says_where(change: dict[str, object], path: str) -> None:
    answer = await Site().send("POST", "/api/silences", SILENCE | change)
    assert answer.status in (400, 422)
    assert list(answer.errors) == [path]


RULE = {
    "name": "High Error Count", "type": "SIMPLE_COUNT", "metricName": "m", "threshold": 1,
    "windowDurationSecs": 60, "groupBy": ["host", "zone"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("matchers", "path"),
    [
        (SILENCE["matchers"], None),
        ({"ruleName": "High Eror Count"}, "/matchers/ruleName"),
        ({"rack/row": "7"}, "/matchers/rack~1row"),
        ({"ruleName": "=~High.*", "zone": "eu"}, None),
        ({"ruleName": "High.*"}, "/matchers/ruleName"),
        ({"zone": "eu-.*"}, "/matchers/zone"),
        ({"zone": "==~eu"}, "/matchers/zone"),
    ],
)
async def test_a_silence_that_no_rules_incidents_can_match_is_made_with_a_warning(
    matchers: object, path: str | None
) -> None:
    site = Site()
    assert (await site.send("POST", "/api/alerts", RULE)).status == 201
    made = await site.send("POST", "/api/silences", SILENCE | {"matchers": matchers})
    assert made.status == 201
    assert [warning["path"] for warning in made.body["warnings"]] == (
        [] if path is None else [path]
    )


async def test_all_rules_are_looked_at_for_a_new_silence_only_and_off_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[threading.Thread] = []
    problem = Reach.problem

    def spied(reach: Reach, specs: Sequence[RuleSpec]) -> tuple[str | None, str] | None:
        looked.append(threading.current_thread())
        return problem(reach, specs)

    monkeypatch.setattr(Reach, "problem", spied)
    site = Site()
    await site.send("POST", "/api/alerts", RULE)
    made = await site.send("POST", "/api/silences", SILENCE)
    assert made.status == 201
    assert len(looked) == 1
    assert looked[0] is not threading.current_thread()
    for method in ("GET", "DELETE"):
        assert (await site.send(method, f"/api/silences/{made.body['id']}")).status == 200
    assert len(looked) == 1


async def test_a_label_that_is_there_twice_is_refused() -> None:
    body = b'{"matchers": {"a": "x", "b": "y", "a": "z"}, "endsAt": "2025-06-30T17:00:00Z"}'
    answer = await Site().send("POST", "/api/silences", body)
    assert answer.status == 400
    assert "'a' is there twice" in answer.body["detail"]

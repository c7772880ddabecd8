from __future__ import annotations

from typing import Any

import pytest

from alertd.rule_checks import RuleSetting
from alertd.rules import RuleSpec
from tests.unit.http.fakes import Site

MINIMAL: dict[str, Any] = {
    "name": "High Error Count",
    "type": "SIMPLE_COUNT",
    "metricName": "error_count",
    "threshold": 100,
    "windowDurationSecs": 300,
}
SLACK = "https://hooks.slack.com/services/T0/B0/secret"
BOSS = "https://boss.example/secret"
TARGETS = {"notifications", "escalateTo"}
FULL: dict[str, Any] = {
    **MINIMAL,
    "bucketIntervalSecs": None,
    "operator": ">",
    "aggregate": "count",
    "matchers": {"service": "payment", "host": "=~web-.*"},
    "groupBy": ["service"],
    "minSamples": None,
    "forSecs": 0,
    "keepFiringSecs": 0,
    "resolveThreshold": None,
    "allowedLatenessSecs": 10,
    "onNoData": "resolve",
    "evaluate": "on_close",
    "severity": "critical",
    "description": "…",
    "runbookUrl": "https://wiki.example/errors",
    "isActive": True,
    "repeatIntervalSecs": 14400,
    "notifications": [{"channel": "SLACK", "endpoint": SLACK}, {"channel": "ops"}],
    "escalateAfterSecs": 900,
    "escalateTo": [{"channel": "WEBHOOK", "endpoint": BOSS}],
}


async def _make(site: Site, rule: dict[str, Any]) -> str:
    answer = await site.send("POST", "/api/alerts", rule)
    assert answer.status == 201, answer.body
    rule_id: str = answer.body["id"]
    return rule_id


def _spec(site: Site, rule_id: str) -> RuleSpec:
    return site.rules.get(rule_id).spec


async def test_a_rule_is_made_and_shown_with_its_version_and_state() -> None:
    site = Site()
    made = await site.send("POST", "/api/alerts", FULL)
    assert made.status == 201
    assert made.headers["Location"] == f"/api/alerts/{made.body['id']}"
    shown = await site.send("GET", made.headers["Location"])
    assert shown.body == made.body
    assert shown.headers["ETag"] == '"1"'
    assert (shown.body["version"], shown.body["source"]) == (1, "api")
    assert {name: shown.body[name] for name in FULL if name not in TARGETS} == {
        name: value for name, value in FULL.items() if name not in TARGETS
    }
    assert shown.body["state"] == {"ok": 1, "pending": 0, "firing": 2, "no_data": 0}
    assert shown.body["createdAt"].endswith("Z")


async def test_a_reply_never_shows_the_secret_part_of_an_endpoint() -> None:
    site = Site()
    rule_id = await _make(site, FULL)
    for path in (f"/api/alerts/{rule_id}", "/api/alerts"):
        answer = await site.send("GET", path)
        assert "secret" not in str(answer.body)
        rule = answer.body.get("items", [answer.body])[0]
        assert rule["notifications"] == [
            {"channel": "SLACK", "endpoint": "https://hooks.slack.com/…"},
            {"channel": "ops", "endpoint": None},
        ]
        assert rule["escalateTo"] == [{"channel": "WEBHOOK", "endpoint": "https://boss.example/…"}]


async def test_what_get_returned_can_be_edited_and_put_without_losing_the_endpoint() -> None:
    site = Site()
    rule_id = await _make(site, FULL)
    shown = (await site.send("GET", f"/api/alerts/{rule_id}")).body
    answer = await site.send("PUT", f"/api/alerts/{rule_id}", shown | {"threshold": 5})
    assert (answer.status, answer.body["version"]) == (200, 2)
    assert _spec(site, rule_id).threshold == 5
    assert [target.endpoint for target in _spec(site, rule_id).targets] == [SLACK, None, BOSS]


async def test_two_endpoints_that_look_alike_keep_their_order() -> None:
    site = Site()
    endpoints = [f"https://example.org/{secret}" for secret in "ab"]
    targets = [{"channel": "WEBHOOK", "endpoint": endpoint} for endpoint in endpoints]
    rule_id = await _make(site, MINIMAL | {"notifications": targets})
    shown = (await site.send("GET", f"/api/alerts/{rule_id}")).body
    assert (await site.send("PUT", f"/api/alerts/{rule_id}", shown)).status == 200
    assert [target.endpoint for target in _spec(site, rule_id).notifications] == endpoints


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_shortened_endpoint_that_the_rule_does_not_have_is_refused(method: str) -> None:
    site = Site()
    rule_id = await _make(site, FULL)
    path = "/api/alerts" if method == "POST" else f"/api/alerts/{rule_id}"
    rule = MINIMAL | {
        "name": "Other",
        "notifications": [{"channel": "WEBHOOK", "endpoint": "https://hooks.slack.com/…"}],
    }
    answer = await site.send(method, path, rule)
    assert answer.status == 422
    assert "write it in full" in answer.errors["/notifications/0/endpoint"]


async def test_a_shortened_endpoint_stands_for_one_of_the_same_list() -> None:
    site = Site()
    rule_id = await _make(site, FULL)
    moved = [{"channel": "SLACK", "endpoint": "https://hooks.slack.com/…"}]
    answer = await site.send("PATCH", f"/api/alerts/{rule_id}", {"escalateTo": moved})
    assert answer.status == 422
    assert "write it in full" in answer.errors["/escalateTo/0/endpoint"]


async def test_patch_merges_and_null_goes_back_to_the_default() -> None:
    site = Site()
    rule_id = await _make(site, FULL)
    path = f"/api/alerts/{rule_id}"
    patch = {
        "threshold": 7,
        "severity": None,
        "runbookUrl": None,
        "matchers": {"host": None, "zone": "a"},
    }
    answer = await site.send("PATCH", path, patch, "application/merge-patch+json")
    assert (answer.status, answer.headers["ETag"]) == (200, '"2"')
    spec = _spec(site, rule_id)
    assert (spec.threshold, spec.severity, spec.runbook_url) == (7, "warning", None)
    assert spec.matchers == {"service": "payment", "zone": "a"}
    assert spec.notifications[0].endpoint == SLACK
    assert spec.group_by == ("service",)


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"name": None}, "/name"),
        ({"treshold": None}, "/treshold"),
        ({"threshold": "7"}, "/threshold"),
        ({"matchers": 5}, "/matchers"),
        ({"windowDurationSecs": 0}, "/windowDurationSecs"),
    ],
)
async def test_a_patch_that_makes_no_rule_changes_nothing(patch: object, path: str) -> None:
    site = Site()
    rule_id = await _make(site, FULL)
    before = site.rules.get(rule_id)
    answer = await site.send("PATCH", f"/api/alerts/{rule_id}", patch)
    assert answer.status == 422
    assert path in answer.errors
    assert site.rules.get(rule_id) == before


@pytest.mark.parametrize("patch", [[], 5, "text", None])
async def test_a_patch_must_be_an_object(patch: object) -> None:
    site = Site()
    rule_id = await _make(site, FULL)
    answer = await site.send("PATCH", f"/api/alerts/{rule_id}", patch)
    assert answer.status == 422
    assert "must be an object" in answer.body["detail"]


async def test_put_replaces_and_what_is_left_out_goes_back_to_its_default() -> None:
    site = Site()
    rule_id = await _make(site, FULL)
    answer = await site.send("PUT", f"/api/alerts/{rule_id}", MINIMAL)
    assert answer.status == 200
    assert _spec(site, rule_id).matchers == {}
    assert _spec(site, rule_id).notifications == ()


@pytest.mark.parametrize("tag", ['"1"', "1", '"7", "1"', "*"])
async def test_if_match_with_the_current_version_lets_an_edit_through(tag: str) -> None:
    site = Site()
    rule_id = await _make(site, MINIMAL)
    answer = await site.send("PUT", f"/api/alerts/{rule_id}", MINIMAL, If_Match=tag)
    assert answer.status == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("tag", ['"2"', '"0", "2"', "junk", ""])
async def test_if_match_with_another_version_stops_an_edit(method: str, tag: str) -> None:
    site = Site()
    rule_id = await _make(site, MINIMAL)
    answer = await site.send(method, f"/api/alerts/{rule_id}", MINIMAL, If_Match=tag)
    assert answer.status == 412
    assert site.rules.get(rule_id).version == 1


async def test_a_deleted_rule_is_gone() -> None:
    site = Site()
    rule_id = await _make(site, MINIMAL)
    deleted = await site.send("DELETE", f"/api/alerts/{rule_id}")
    assert (deleted.status, deleted.body) == (204, b"")
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = await site.send(method, f"/api/alerts/{rule_id}", MINIMAL)
        assert answer.status == 404
        assert rule_id in answer.body["detail"]


async def test_every_mistake_in_a_rule_is_reported_with_its_path() -> None:
    answer = await Site().send(
        "POST",
        "/api/alerts",
        {
            "name": 5,
            "type": "SIMPLE_CONT",
            "treshold": 100,
            "windowDurationSecs": "300",
            "matchers": {"a": 1, "b/c": None},
            "groupBy": ["a", 2],
            "isActive": "yes",
            "minSamples": 1.5,
            "notifications": [{"chanel": "SLACK"}, "ops", {"channel": "ops", "endpoint": 5}],
        },
    )
    assert answer.status == 422
    errors = answer.errors
    assert set(errors) == {
        "/name",
        "/type",
        "/treshold",
        "/threshold",
        "/metricName",
        "/windowDurationSecs",
        "/matchers/a",
        "/matchers/b~1c",
        "/groupBy/1",
        "/isActive",
        "/minSamples",
        "/notifications/0/chanel",
        "/notifications/0/channel",
        "/notifications/1",
        "/notifications/2/endpoint",
    }
    assert "SIMPLE_COUNT, MOVING_WINDOW, BUCKETED_WINDOW" in errors["/type"]
    assert "did you mean 'threshold'?" in errors["/treshold"]
    assert errors["/threshold"] == "is required"
    assert errors["/windowDurationSecs"] == "must be a number of seconds, like 300, not '300'"
    assert "did you mean 'channel'?" in errors["/notifications/0/chanel"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"windowDurationSecs": 0}, "/windowDurationSecs"),
        ({"type": "BUCKETED_WINDOW", "bucketIntervalSecs": 7}, "/bucketIntervalSecs"),
        ({"type": "SIMPLE_COUNT", "evaluate": "early"}, "/evaluate"),
        ({"notifications": [{"channel": "nobody"}]}, "/notifications/0/channel"),
        ({"escalateAfterSecs": 5, "escalateTo": [{"channel": "b"}]}, "/escalateTo/0/channel"),
        ({"escalateAfterSecs": 5}, "/escalateTo"),
        ({"escalateAfterSecs": -1, "escalateTo": [{"channel": "ops"}]}, "/escalateAfterSecs"),
        ({"matchers": {"host": "=~web-("}}, "/matchers/host"),
        ({"threshold": 2**64}, "/threshold"),
        ({"threshold": float("nan")}, "/threshold"),
        ({"description": "\ud800"}, "/description"),
        ({"id": "mine"}, "/id"),
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused(change: object, path: str) -> None:
    assert isinstance(change, dict)
    answer = await Site().send("POST", "/api/alerts", MINIMAL | change)
    assert answer.status == 422
    assert path in answer.errors


async def test_a_key_of_prometheus_is_refused_with_the_name_that_it_has_here() -> None:
    answer = await Site().send("POST", "/api/alerts", MINIMAL | {"labels": {"severity": "page"}})
    message = "is an unknown field; here that is 'severity' and 'groupBy'"
    assert (answer.status, answer.errors) == (422, {"/labels": message})


async def test_a_name_is_taken_once() -> None:
    site = Site()
    await _make(site, MINIMAL)
    answer = await site.send("POST", "/api/alerts", MINIMAL)
    assert answer.status == 422
    assert set(answer.errors) == {"/name"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        ('{"name": "x"}'.encode("utf-16"), 400),
        (b'{"name": "\xff"}', 400),
        (b"[]", 422),
        (b" " * 300_000, 413),
    ],
)
async def test_what_is_no_rule_at_all_is_a_problem(body: bytes, status: int) -> None:
    answer = await Site().send("POST", "/api/alerts", body)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_rules_are_listed_by_name_in_pages_that_edits_do_not_shift() -> None:
    site = Site()
    for name in ("d", "a", "é", "b"):
        await _make(site, MINIMAL | {"name": name})
    first = (await site.send("GET", "/api/alerts?limit=2")).body
    assert [rule["name"] for rule in first["items"]] == ["a", "b"]
    await _make(site, MINIMAL | {"name": "aa"})
    second = (await site.send("GET", f"/api/alerts?limit=2&cursor={first['nextCursor']}")).body
    assert [rule["name"] for rule in second["items"]] == ["d", "é"]
    assert second["nextCursor"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limt=5", "cursor=%20!"])
async def test_a_wrong_parameter_is_400_and_named(query: str) -> None:
    answer = await Site().send("GET", f"/api/alerts?{query}")
    assert answer.status == 400
    assert set(answer.errors) == {"/" + query.partition("=")[0]}


async def test_a_rule_needs_its_content_type() -> None:
    answer = await Site().send("POST", "/api/alerts", MINIMAL, None)
    assert answer.status == 415
    assert "application/json" in answer.body["detail"]


async def test_a_rule_is_answered_with_what_it_most_likely_does_not_mean() -> None:
    site = Site()
    annotations = {"what": "{{ labels.host }} of {{ labels.service }}"}
    rule = MINIMAL | {"groupBy": ["service"], "annotations": annotations}
    made = await site.send("POST", "/api/alerts", rule)
    assert made.status == 201, "a warning refuses nothing"
    [warning] = made.body["warnings"]
    assert warning["path"] == "/annotations/what"
    assert warning["message"].startswith("shows labels.host; incidents have the labels in groupBy")
    path = f"/api/alerts/{made.body['id']}"
    assert (await site.send("GET", path)).body["warnings"] == [warning]
    listed = (await site.send("GET", "/api/alerts")).body["items"]
    assert listed == [{name: made.body[name] for name in made.body.keys() - {"warnings"}}]
    mended = await site.send("PUT", path, made.body | {"groupBy": ["service", "host"]})
    assert (mended.status, mended.body["warnings"]) == (200, []), "a reply can be sent back"


async def test_an_endpoint_that_nothing_is_sent_to_is_told_at_once() -> None:
    site, inside = Site(), {"channel": "WEBHOOK", "endpoint": "http://127.0.0.1:18801/x"}
    outside = {"channel": "SLACK", "endpoint": "https://hooks.example/x"}
    later = {"escalateAfterSecs": 60, "escalateTo": [inside | {"endpoint": "http://[fe80::1]/x"}]}
    made = await site.send(
        "POST", "/api/alerts", MINIMAL | later | {"notifications": [outside, inside]}
    )
    assert made.status == 201
    told = {warning["path"]: warning["message"] for warning in made.body["warnings"]}
    assert told.keys() == {"/notifications/1/endpoint", "/escalateTo/0/endpoint"}
    assert told["/notifications/1/endpoint"].startswith("leads to a loopback address, which")
    assert told["/escalateTo/0/endpoint"].startswith("leads to a link-local address, which")


async def test_a_rule_that_cannot_be_meant_is_answered_with_why() -> None:
    site = Site()
    site.setting = RuleSetting(tells_somebody=lambda _: False)
    rule = MINIMAL | {"threshold": -1, "matchers": {"host": "web-.*"}}
    made = await site.send("POST", "/api/alerts", rule)
    assert made.status == 201, "a warning refuses nothing"
    told = {warning["path"]: warning["message"] for warning in made.body["warnings"]}
    assert told.keys() == {"/threshold", "/matchers/host", "/notifications"}
    assert told["/threshold"].startswith("count is a whole number, 0 or more, so count > -1 always")
    assert told["/matchers/host"].endswith("did you mean '=~web-.*'?")
    assert "nobody is told" in told["/notifications"]


async def test_an_endpoint_that_may_lead_inside_is_not_warned_of() -> None:
    site = Site()
    site.setting = RuleSetting(allow_private_endpoints=True)
    inside = {"channel": "WEBHOOK", "endpoint": "http://127.0.0.1:18801/x"}
    made = await site.send("POST", "/api/alerts", MINIMAL | {"notifications": [inside]})
    assert (made.status, made.body["warnings"]) == (201, [])

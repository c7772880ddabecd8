"""``alertd incidents``: what the daemon is asked, page by page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.model import EndReason
from tests.receivers import Answer, http_receiver
from tests.unit.cli.terminals import at_a_terminal
from tests.unit.cli.test_cli import invoked


def page(*ids: str, more: str | None = None) -> Answer:
    items = [{"id": id_} for id_ in ids]
    return Answer(body=json.dumps({"items": items, "nextCursor": more}).encode())


def test_a_page_with_nothing_on_it_is_not_the_last() -> None:
    with http_receiver() as daemon:
        daemon.script = [page(more="c1"), page("a", more="c2"), page(), page("b", "c", more="c3")]
        asked = ("incidents", "--all", "--told", "held_back", "--limit", "2")
        done = invoked(*asked, "--url", daemon.url(""))
    assert (done.exit_code, [one["id"] for one in json.loads(done.stdout)]) == (0, ["a", "b"])
    assert [request.path for request in daemon.received] == [
        "/api/incidents?limit=2&state=firing&told=held_back",
        "/api/incidents?limit=2&state=firing&told=held_back&cursor=c1",
        "/api/incidents?limit=2&state=firing&told=held_back&cursor=c2",
        "/api/incidents?limit=1&state=resolved&told=held_back",
    ]


def test_a_word_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    refused = invoked("incidents", "--told", "given_up")
    assert refused.exit_code == 2
    for word in ("delivered", "pending", "failed", "held_back", "nobody"):
        assert word in refused.stderr


def test_only_a_known_recovery_is_green_and_another_end_says_its_reason() -> None:
    ends = {
        "recovered": "\x1b[32mresolved",
        "no_data": "ended: no data",
        "rule_changed": "ended: rule changed",
        "rule_deleted": "ended: rule deleted or disabled",
        "expired": "ended: forgotten, no events",
    }
    assert ends.keys() == set(EndReason)
    for reason, shown in ends.items():
        ended = {
            "id": OTHER, "state": "resolved", "reason": reason, "severity": "critical",
            "ruleName": "Host down", "groupLabels": {}, "currentValue": 0.0,
            "startedAt": "2025-06-30T15:00:00.000000Z",
        }  # fmt: skip
        with http_receiver() as daemon:
            body = json.dumps({"items": [ended], "nextCursor": None}).encode()
            daemon.script = [page(), Answer(body=body)]
            code, written = at_a_terminal("incidents", "--all", "--url", daemon.url(""))
        assert code == 0
        assert shown in written
        assert ("\x1b[32m" in written) is (reason == "recovered")


ALIKE = ("0e4eaec8-0000-5000-8000-000000000001", "0e4eaec8-0000-5000-8000-000000000002")
OTHER = "6f1c2d4e-0000-5000-8000-000000000003"


def on_now(*ids: str) -> Answer:
    items = [{"id": id_, "message": f"what {id_[-1]} is about"} for id_ in ids]
    return Answer(body=json.dumps({"items": items, "nextCursor": None}).encode())


def test_the_beginning_of_an_id_is_enough_where_it_is_of_one_incident_that_is_on() -> None:
    for typed, listings in (("6F1C2D", 1), (OTHER, 0)):
        with http_receiver() as daemon:
            daemon.script = [on_now(*ALIKE, OTHER)] * listings
            daemon.otherwise = Answer(body=b"{}")
            assert invoked("ack", typed, "--url", daemon.url("")).exit_code == 0
        assert [request.path for request in daemon.received][:listings] == [
            "/api/incidents?limit=1000&state=firing"
        ] * listings
        assert daemon.received[-1].path == f"/api/incidents/{OTHER}/ack"


def test_of_several_incidents_those_that_can_be_are_acknowledged_and_the_others_named() -> None:
    over = json.dumps({"title": "Conflict", "status": 409, "detail": "the incident has ended"})
    acknowledged = [Answer(body=b'{"id": "%b"}' % one.encode()) for one in (ALIKE[0], OTHER)]
    with http_receiver() as daemon:
        daemon.script = [acknowledged[0], Answer(409, body=over.encode()), acknowledged[1]]
        done = invoked("ack", *ALIKE, OTHER, OTHER, "--url", daemon.url(""))
    assert done.exit_code == 3
    assert done.stderr == f"{ALIKE[1]}: the incident has ended\n"
    first, rest = json.JSONDecoder().raw_decode(done.stdout)
    assert (first, json.loads(done.stdout[rest:])) == ({"id": ALIKE[0]}, {"id": OTHER})


def test_where_one_of_several_ids_is_none_nothing_is_acknowledged() -> None:
    with http_receiver() as daemon:
        daemon.otherwise = on_now(*ALIKE, OTHER)
        refused = invoked("ack", OTHER, "ffffffff", "--url", daemon.url(""))
    assert refused.exit_code == 3
    assert not any(request.path.endswith("/ack") for request in daemon.received)


def test_a_beginning_that_is_of_several_incidents_or_of_none_acknowledges_nothing() -> None:
    for typed, exit_code, words in (
        ("0e4eaec8", 3, [*ALIKE, "what 1 is about"]),
        ("0e4eae00", 3, ["no incident that is on", "'0e4eae00'"]),
        ("0e4ea", 2, ["too short", "6 characters"]),
    ):
        with http_receiver() as daemon:
            daemon.otherwise = on_now(*ALIKE, OTHER)
            refused = invoked("ack", typed, "--url", daemon.url(""))
        assert refused.exit_code == exit_code
        for word in words:
            assert word in refused.stderr
        assert OTHER not in refused.stderr
        assert not any(request.path.endswith("/ack") for request in daemon.received)


def detail(**changes: object) -> Answer:
    incident = {
        "id": OTHER, "state": "firing", "reason": None, "severity": "critical",
        "message": "Host down for host=a: count was 0 (alert if < 1)", "told": "held_back",
        "startedAt": "2025-06-30T15:00:00.000000Z", "endedAt": None,
        "firedAt": "2025-06-30T15:00:00.000000Z", "triggeredAt": "2025-06-30T15:00:01.000000Z",
        "lateBy": 0.0, "detectedBy": "stream",
        "acknowledgedAt": "2025-06-30T15:09:00.000000Z", "acknowledgedBy": "ann",
        "timeline": [
            {"at": "2025-06-30T15:00:00.000000Z", "what": "fired", "detail": "Host down"},
            {"at": "2025-06-30T15:00:01.000000Z", "what": "silenced", "detail": "ops: silence s"},
        ],
    }  # fmt: skip
    return Answer(body=json.dumps(incident | changes).encode())


def test_why_shows_a_person_the_timeline_and_a_program_all_there_is() -> None:
    for typed, listings in (("6f1c2d", [page(), on_now(*ALIKE, OTHER)]), (OTHER, [])):
        with http_receiver() as daemon:
            daemon.script, daemon.otherwise = listings, detail()
            done = invoked("why", typed, "--url", daemon.url(""))
        assert (done.exit_code, json.loads(done.stdout)["told"]) == (0, "held_back")
        assert daemon.received[-1].path == f"/api/incidents/{OTHER}"
    with http_receiver() as daemon:
        daemon.otherwise = detail()
        code, shown = at_a_terminal("why", OTHER, "--url", daemon.url(""))
    assert code == 0
    for words in (
        "Host down for host=a: count was 0 (alert if < 1)",
        f"{OTHER}, critical, firing, since 2025-06-30 15:00:00 UTC, acknowledged by ann, held back",
        "2025-06-30 15:00:01 UTC",
        "ops: silence s",
    ):
        assert words in shown
    ended = {"state": "resolved", "reason": "no_data", "endedAt": "2025-06-30T15:10:00.000000Z"}
    with http_receiver() as daemon:
        daemon.otherwise = detail(**ended)
        _, shown = at_a_terminal("why", OTHER, "--url", daemon.url(""))
    assert "ended: no data, 2025-06-30 15:00:00 UTC to 2025-06-30 15:10:00 UTC" in shown


def test_what_may_have_been_meant_by_a_mistyped_beginning_is_named() -> None:
    for typed, is_alike in (("0e4eae00", True), ("0e00ae00", False)):
        with http_receiver() as daemon:
            daemon.otherwise = on_now(*ALIKE, OTHER)
            refused = invoked("ack", typed, "--url", daemon.url(""))
        assert ("did you mean" in refused.stderr) is is_alike
        assert all((one in refused.stderr) is is_alike for one in ALIKE)


def test_the_name_of_a_rule_in_the_place_of_an_id_names_its_incidents() -> None:
    with http_receiver() as daemon:
        daemon.script = [page(), detail_page()]
        refused = invoked("why", "host down", "--url", daemon.url(""))
    assert refused.exit_code == 3
    assert "with the id 'host down', or one that begins so; did you mean" in refused.stderr
    assert f"{OTHER}  Host down for host=a" in refused.stderr


def test_an_id_that_nothing_resembles_is_refused_with_the_command_that_shows_ids() -> None:
    for command, lister in (("why", "alertd incidents --all"), ("ack", "alertd incidents")):
        with http_receiver() as daemon:
            daemon.otherwise = page()
            refused = invoked(command, "ffffffff", "--url", daemon.url(""))
        assert refused.exit_code == 3
        assert f"or one that begins so; `{lister}` shows the ids" in refused.stderr


def test_why_says_when_an_incident_was_noticed_if_that_was_long_after_it_fired() -> None:
    for noticed, is_said in (("15:00:59", False), ("15:19:14", True)):
        with http_receiver() as daemon:
            daemon.otherwise = detail(triggeredAt=f"2025-06-30T{noticed}.000000Z")
            _, shown = at_a_terminal("why", OTHER, "--url", daemon.url(""))
        words = "alertd noticed it 2025-06-30 15:19:14 UTC, 19 min 14 s after it fired"
        assert (words in shown, "noticed" in shown) == (is_said, is_said)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"lateBy": 1150.0, "detectedBy": "late"}, "it fired: the data came 19 min 10 s late\n"),
        ({"detectedBy": "backfill"}, "it fired: its rule, new or edited then, looked back\n"),
        ({}, "it fired\n"),
    ],
)
def test_why_says_why_it_was_noticed_late_where_that_is_known(
    found: dict[str, Any], said: str
) -> None:
    with http_receiver() as daemon:
        daemon.otherwise = detail(triggeredAt="2025-06-30T15:19:14.000000Z", **found)
        _, shown = at_a_terminal("why", OTHER, "--url", daemon.url(""))
    assert said in shown.replace("\r\n", "\n")


def detail_page() -> Answer:
    return Answer(body=b'{"items": [%b], "nextCursor": null}' % detail().body)

"""``alertd messages``: what a person sees of them, and what is asked to send them again."""

from __future__ import annotations

import json

import pytest

from tests.receivers import Answer, http_receiver
from tests.unit.cli.terminals import at_a_terminal
from tests.unit.cli.test_cli import invoked

ID = "6f1c2d4e-0000-5000-8000-00000000000{}"


def message(number: int, status: str = "FAILED") -> dict[str, object]:
    return {
        "id": ID.format(number),
        "channel": "[ops]",
        "status": status,
        "kinds": ["firing", "resolved"],
        "incidentCount": 1200,
        "createdAt": "2026-11-26T07:30:12.345678Z",
        "lastError": None if status == "SUCCESS" else "HTTP 410",
    }


def page(*items: dict[str, object], more: str | None = None) -> Answer:
    return Answer(body=json.dumps({"items": items, "nextCursor": more}).encode())


def test_a_narrow_terminal_has_ids_to_copy_and_says_how_far_each_has_come() -> None:
    for status, word in (("FAILED", "failed"), ("RETRY_PENDING", "waits"), ("SUCCESS", "sent")):
        with http_receiver() as daemon:
            daemon.otherwise = page(message(1, status))
            code, text = at_a_terminal("messages", "list", "--url", daemon.url(""), columns=80)
        assert code == 0
        for shown in (ID.format(1), "[ops]", word, "1,200", "firing"):
            assert shown in text
        assert ("410" in text) == (status != "SUCCESS")


@pytest.mark.parametrize("written", ["failed", "Failed", "FAILED"])
def test_a_status_may_be_written_as_the_table_shows_it(written: str) -> None:
    with http_receiver() as daemon:
        daemon.otherwise = page(message(1))
        done = invoked("messages", "list", "--status", written, "--url", daemon.url(""))
    assert done.exit_code == 0
    assert daemon.received[0].path.endswith("&status=FAILED")


def test_all_that_were_given_up_are_sent_again_whatever_pages_they_are_on() -> None:
    with http_receiver() as daemon:
        daemon.script = [page(message(1), more="c1"), page(more="c2"), page(message(2))]
        daemon.otherwise = Answer(body=b"{}")
        asked = ("messages", "requeue", "--failed", "--channel", "ops")
        done = invoked(*asked, "--url", daemon.url(""))
    assert (done.exit_code, json.loads(done.stdout)) == (0, [ID.format(2), ID.format(1)])
    listed, sent = daemon.received[:3], daemon.received[3:]
    assert listed[0].path == "/api/notifications?limit=1000&status=FAILED&channel=ops"
    assert [request.path for request in sent] == [
        f"/api/notifications/{ID.format(number)}/requeue" for number in (2, 1)
    ], "the oldest first"


@pytest.mark.parametrize("status", [404, 409])
def test_what_was_delivered_meanwhile_does_not_keep_the_others_from_being_sent(
    status: int,
) -> None:
    """A beginning takes its end along, so that may be there before its own turn comes."""
    with http_receiver() as daemon:
        daemon.script = [page(message(1), message(2)), Answer(status, body=b"{}")]
        daemon.otherwise = Answer(body=b"{}")
        done = invoked("messages", "requeue", "--failed", "--url", daemon.url(""))
    assert (done.exit_code, json.loads(done.stdout)) == (0, [ID.format(1)])
    assert len(daemon.received) == 3


def test_what_waits_is_sent_now_alone_or_with_what_was_given_up() -> None:
    for words, paths in (
        (["--waiting"], ["RETRY_PENDING"]),
        (["--waiting", "--failed"], ["FAILED", "RETRY_PENDING"]),
    ):
        with http_receiver() as daemon:
            daemon.script = [page(message(n, status)) for n, status in enumerate(paths, start=1)]
            daemon.otherwise = Answer(body=b"{}")
            done = invoked("messages", "requeue", *words, "--url", daemon.url(""))
        assert (done.exit_code, len(json.loads(done.stdout))) == (0, len(paths))
        assert [request.path for request in daemon.received] == [
            *(f"/api/notifications?limit=1000&status={status}" for status in paths),
            *(f"/api/notifications/{ID.format(n + 1)}/requeue" for n in range(len(paths))),
        ]


@pytest.mark.parametrize(
    "arguments", [(), ("--failed", "x"), ("--channel", "ops", "x"), ("--waiting", "x")]
)
def test_what_is_to_be_sent_again_is_named_in_one_way(arguments: tuple[str, ...]) -> None:
    refused = invoked("messages", "requeue", *arguments, "--url", "http://127.0.0.1:1")
    assert refused.exit_code == 2
    assert "name messages by their ids, or say --failed or --waiting" in refused.stderr


def test_what_was_given_up_or_waits_is_sent_by_the_beginning_of_its_id() -> None:
    other = "00000000-0000-5000-8000-000000000002"
    with http_receiver() as daemon:
        daemon.script = [page(message(1)), page(message(2, "RETRY_PENDING") | {"id": other})]
        daemon.otherwise = Answer(body=b"{}")
        done = invoked("messages", "requeue", "6F1C2D", other, "--url", daemon.url(""))
    assert (done.exit_code, json.loads(done.stdout)) == (0, [ID.format(1), other])
    assert [request.path for request in daemon.received] == [
        "/api/notifications?limit=1000&status=FAILED",
        "/api/notifications?limit=1000&status=RETRY_PENDING",
        f"/api/notifications/{ID.format(1)}/requeue",
        f"/api/notifications/{other}/requeue",
    ]


def test_a_beginning_that_two_messages_share_has_none_of_all_that_are_named_sent_again() -> None:
    with http_receiver() as daemon:
        daemon.script = [page(message(1)), page(message(2, "RETRY_PENDING"))]
        asked = ("messages", "requeue", ID.format(3), "6f1c2d4e")
        refused = invoked(*asked, "--url", daemon.url(""))
    assert refused.exit_code == 3
    assert refused.stderr.splitlines() == [
        "2 messages that are not delivered begin with '6f1c2d4e':",
        f"{ID.format(1)}  [ops]: firing, resolved, 2026-11-26 07:30:12 UTC",
        f"{ID.format(2)}  [ops]: firing, resolved, 2026-11-26 07:30:12 UTC",
    ]
    assert [request.path for request in daemon.received] == [
        "/api/notifications?limit=1000&status=FAILED",
        "/api/notifications?limit=1000&status=RETRY_PENDING",
    ]

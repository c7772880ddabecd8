"""``alertd silence add``: what the daemon is asked for."""

from __future__ import annotations

import json
import time

import pytest

from alertd.http.timestamp import written_us
from tests.receivers import Answer, http_receiver
from tests.unit.cli.terminals import at_a_terminal
from tests.unit.cli.test_cli import invoked

HOUR_US = 3_600_000_000
ID = "6f1c2d4e-0000-4000-8000-00000000000{}"
SILENCE = {
    "id": "s1",
    "state": "pending",
    "matchers": {"service": "shop"},
    "startsAt": "2030-01-01T22:00:00.000000Z",
    "endsAt": "2030-01-02T04:00:00.000000Z",
    "createdBy": "ann",
    "comment": "",
}


@pytest.mark.parametrize(
    ("arguments", "starts_us", "lasts_us"),
    [
        (("--for", "2h"), None, 2 * HOUR_US),
        (("--start", "1h", "--for", "2h"), HOUR_US, 2 * HOUR_US),
        (("--start", "1h", "--end", "4h"), HOUR_US, 3 * HOUR_US),
        (("--end", "1d"), None, 24 * HOUR_US),
    ],
)
def test_a_silence_lasts_for_a_time_or_until_one_from_now_or_later_on(
    arguments: tuple[str, ...], starts_us: int | None, lasts_us: int
) -> None:
    with http_receiver() as daemon:
        daemon.otherwise = Answer(body=json.dumps(SILENCE | {"warnings": []}).encode())
        before_us = time.time_ns() // 1000
        added = invoked("silence", "add", *arguments, "service=shop", "--url", daemon.url(""))
        after_us = time.time_ns() // 1000
        [asked] = daemon.received
    assert (added.exit_code, json.loads(added.stdout)) == (0, [SILENCE | {"warnings": []}])
    sent = json.loads(asked.body)
    begin_us = 0 if starts_us is None else starts_us
    end_us = written_us(sent["endsAt"])
    assert before_us <= end_us - begin_us - lasts_us <= after_us
    assert (sent["startsAt"] is None) == (starts_us is None)
    if starts_us is not None:
        assert before_us <= written_us(sent["startsAt"]) - starts_us <= after_us


def test_a_moment_is_taken_as_it_is_written() -> None:
    with http_receiver() as daemon:
        daemon.otherwise = Answer(body=json.dumps(SILENCE).encode())
        invoked(
            *("silence", "add", "--start", "2030-01-01T23:00:00+01:00", "--for", "6h"),
            *("service=shop", "--url", daemon.url("")),
        )
        [asked] = daemon.received
    sent = json.loads(asked.body)
    assert (sent["startsAt"], sent["endsAt"]) == (SILENCE["startsAt"], SILENCE["endsAt"])


@pytest.mark.parametrize(
    ("matcher", "right"),
    [
        ("host==~web-.*", "host=~web-.*"),
        ("host=!~web-.*", "host!~web-.*"),
        ("host=!=web", "host!=web"),
        ("host==web", "host=web"),
    ],
)
def test_an_operator_behind_an_operator_is_refused_with_the_right_spelling(
    matcher: str, right: str
) -> None:
    done = invoked("silence", "add", "--for", "1h", matcher)
    assert done.exit_code == 2
    assert f"{matcher!r} has two operators; did you mean {right!r}?" in done.stderr


def test_a_value_that_looks_like_more_labels_is_told() -> None:
    for matcher, is_told in (("team=db,severity=info", True), ("team=~db,web", False)):
        with http_receiver() as daemon:
            daemon.otherwise = Answer(body=json.dumps(SILENCE).encode())
            done = invoked("silence", "add", "--for", "1h", matcher, "--url", daemon.url(""))
        assert (done.exit_code, "labels stand apart, with spaces" in done.stderr) == (0, is_told)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say how long it holds, --for, or until when, --end"),
        (("--for", "2h", "--end", "3h"), "--for and --end both say when it ends: leave one of"),
        (("--start", "1h"), "say how long it holds, --for, or until when, --end"),
        (("--end", "noon"), "or say in how long, like 15m"),
        (("--for", "9999999w"), "is not a length of time up to 100 years"),
        (("--for", "1h", "service=pay"), "'service' is there 2 times; write one =~ for all"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], message: str) -> None:
    refused = invoked("silence", "add", *arguments, "service=shop", "--url", "http://127.0.0.1:1")
    assert refused.exit_code == 2
    assert message in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--for", "0m"), "--for"),
        (("--end", "2020-01-01T00:00:00Z"), "--end"),
        (("--start", "2h", "--end", "1h"), "--end"),
    ],
)
def test_a_silence_that_would_be_over_before_it_begins_is_refused_by_its_option(
    arguments: tuple[str, ...], option: str
) -> None:
    with http_receiver() as daemon:
        refused = invoked("silence", "add", *arguments, "service=shop", "--url", daemon.url(""))
    assert (refused.exit_code, daemon.received) == (2, [])
    assert f"{option}: it would be over before it begins" in refused.stderr


def listed_silences(**states: str) -> Answer:
    items = [SILENCE | {"id": ID.format(number), "state": states[number]} for number in states]
    return Answer(body=json.dumps({"items": items, "nextCursor": None}).encode())


def test_a_silence_is_ended_by_the_beginning_of_its_id_if_no_other_that_holds_begins_so() -> None:
    with http_receiver() as daemon:
        daemon.script = [listed_silences(a="expired", b="active")]
        daemon.otherwise = Answer(body=json.dumps(SILENCE).encode())
        assert invoked("silence", "expire", "6f1c2d", "--url", daemon.url("")).exit_code == 0
    assert [request.path for request in daemon.received] == [
        "/api/silences?limit=1000",
        f"/api/silences/{ID.format('b')}",
    ]


def test_a_silence_that_is_over_is_found_by_the_beginning_of_its_id_too() -> None:
    """It ends once only; who ends it again, or too late, is shown since when it is over."""
    over = SILENCE | {"id": ID.format("a"), "state": "expired"}
    with http_receiver() as daemon:
        daemon.script = [listed_silences(a="expired")]
        daemon.otherwise = Answer(body=json.dumps(over).encode())
        ended = invoked("silence", "expire", "6f1c2d", "--url", daemon.url(""))
    assert (ended.exit_code, json.loads(ended.stdout)) == (0, [over])


def test_a_beginning_of_two_silences_ends_neither_and_says_what_each_is_about() -> None:
    with http_receiver() as daemon:
        daemon.otherwise = listed_silences(a="pending", b="active")
        refused = invoked("silence", "expire", "6f1c2d", "--url", daemon.url(""))
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert refused.stderr.splitlines() == [
        "2 silences begin with '6f1c2d':",
        f"{ID.format('a')}  service=shop",
        f"{ID.format('b')}  service=shop",
    ]
    assert [request.path for request in daemon.received] == ["/api/silences?limit=1000"]


def test_a_person_is_told_that_there_is_no_silence_and_a_program_gets_an_empty_list() -> None:
    with http_receiver() as daemon:
        daemon.otherwise = listed_silences()
        _, shown = at_a_terminal("silence", "list", "--url", daemon.url(""))
        piped = invoked("silence", "list", "--url", daemon.url(""))
    assert ("there is none" in shown, "matchers" in shown) == (True, False)
    assert json.loads(piped.stdout) == []

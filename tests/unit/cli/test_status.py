"""``alertd status``: what a person and a program get."""

from __future__ import annotations

import json

import msgspec
import pytest

from alertd.http.openapi.operations import STATUS
from tests.receivers import Answer, http_receiver, make_authority
from tests.unit.cli.terminals import at_a_terminal
from tests.unit.cli.test_cli import invoked

REPORT = json.loads(msgspec.json.encode(STATUS))
WARNED = (
    "/etc/alertd/alertd.toml:12: warning: route[0].matchers.team: matches nothing: no rule groups "
    "by 'team', so no incident has that label"
)
ILL = {
    "configuration": REPORT["configuration"]
    | {
        "refused": {
            "at": "2025-06-30T14:00:00.000000Z",
            "errors": [
                {"path": "/etc/alertd/alertd.toml:1", "message": "foo: unknown key"},
                {"path": "", "message": "the certificate cannot be read"},
            ],
            "errorCount": 5,
        }
    },
    "ready": False,
    "reason": "the disk is full",
    "ruleErrors": [{"ruleId": "r", "ruleName": "CPU", "message": "it is not judged: …"}],
    "refusals": [
        {"limit": "max_groups_per_rule", "events": 3, "ruleName": "CPU", "metricName": None},
        {"limit": "max_series", "events": None, "ruleName": None, "metricName": "latency"},
    ],
    "flapping": [
        {
            "ruleName": "Errors",
            "groupLabels": {"host": "a", "dc": "b"},
            "since": "2025-06-30T15:00:00.000000Z",
        }
    ],
    "coldRules": ["r1", "r2"],
    "overdueGroups": 1200,
    "snapshotAt": None,
}


def test_a_program_gets_the_report_and_a_person_what_he_wants_to_know_first() -> None:
    with http_receiver() as daemon:
        daemon.otherwise = Answer(body=json.dumps(REPORT).encode())
        piped = invoked("status", "--url", daemon.url(""))
        assert (piped.exit_code, json.loads(piped.stdout)) == (0, REPORT)
        assert piped.stderr == f"{WARNED}\n"
        code, text = at_a_terminal("status", "--url", daemon.url(""))
    assert code == 0
    for words in (
        WARNED,
        "messages that were given up: 2; `alertd messages list --status FAILED` lists them",
        "channel 'ops' takes nothing since 2025-06-30 14:50:00 UTC, messages that wait for it: 3; "
        "it said last: HTTP 503",
        "up for 3 h",
        "of 2025-06-30 12:00:00 UTC",
        "12, 5,600 groups",
        "/var/lib/alertd/alertd.db, 50.0 MiB",
        "2025-06-30 14:59:45 UTC",
    ):
        assert words in text
    for words in ("not ready", "refused", "apart"):
        assert words not in text


def test_events_that_come_far_apart_are_told_only_where_some_were_too_late() -> None:
    with http_receiver() as daemon:
        daemon.otherwise = Answer(body=json.dumps(REPORT | {"overdueEvents": 1}).encode())
        _, text = at_a_terminal("status", "--url", daemon.url(""))
    assert (
        "rule 'Payment errors': events come up to 31.5 s apart, its allowedLatenessSecs is 10: "
        "if that is how often senders push, raise it"
    ) in " ".join(text.split())


@pytest.mark.parametrize("url", ["127.0.0.1:9470", "ftp://127.0.0.1", "alertd"])
def test_what_is_no_address_is_told_with_one_that_is(url: str) -> None:
    done = invoked("status", "--url", url)
    assert done.exit_code == 2
    assert "is not an address; write it like http://127.0.0.1:9470" in done.stderr


def test_what_is_not_as_it_should_be_is_told_and_is_the_exit_code() -> None:
    with http_receiver() as daemon:
        daemon.otherwise = Answer(body=json.dumps(REPORT | ILL).encode())
        assert invoked("status", "--url", daemon.url("")).exit_code == 3
        code, text = at_a_terminal("status", "--url", daemon.url(""))
    assert code == 3
    for words in (
        "the configuration of 2025-06-30 14:00:00 UTC was refused",
        "/etc/alertd/alertd.toml:1: foo: unknown key",
        "the certificate cannot be read",
        "and 3 more mistakes",
        "rule 'CPU': it is not judged: …",
        "engine.max_groups_per_rule is reached: 'CPU'",
        "engine.max_series is reached: 'latency'",
        "rule 'Errors' flaps since 2025-06-30 15:00:00 UTC: host=a, dc=b",
        "rules that began without what was stored before: 2",
        "; 1,200 groups again, for events that came very late",
        "none since the start",
        "not ready: the disk is full",
    ):
        assert words in text


def test_a_daemon_that_recovers_says_how_far_it_is() -> None:
    reason = "recovering: replaying the log: 3,000,000 events, 45%"
    with http_receiver() as daemon:
        daemon.otherwise = Answer(status=503, body=json.dumps({"detail": reason}).encode())
        refused = invoked("status", "--url", daemon.url(""))
    assert (refused.exit_code, refused.stdout, refused.stderr) == (3, "", f"{reason}\n")


def test_a_daemon_that_is_not_there_is_told_in_words_alone() -> None:
    refused = invoked("status", "--url", "http://127.0.0.1:1")
    assert refused.exit_code == 3
    assert "http://127.0.0.1:1: Connection refused; is it running? see --url\n" in refused.stderr


def test_what_is_wrong_with_tls_is_told_in_words_too() -> None:
    untrusted = make_authority().server
    for tls, words in ((None, "speaks no TLS"), (untrusted, "its certificate is not trusted")):
        with http_receiver(tls=tls) as daemon:
            url = daemon.url("").replace("http://", "https://")
            refused = invoked("status", "--url", url)
        assert refused.exit_code == 3
        assert words in refused.stderr
        assert refused.stderr.endswith("; see --url and --ca-file\n")


def test_one_group_is_not_several() -> None:
    with http_receiver() as daemon:
        daemon.otherwise = Answer(body=json.dumps(REPORT | {"groups": 1}).encode())
        _, shown = at_a_terminal("status", "--url", daemon.url(""))
    assert ("12, 1 group " in shown, "1 groups" in shown) == (True, False)

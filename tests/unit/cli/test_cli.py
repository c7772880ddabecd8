"""The command line: what it prints where, and how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click.testing
import pytest
import structlog

from alertd import __version__, app, cli
from alertd.cli import configuration
from alertd.config.settings import Config
from alertd.errors import AlertdError
from tests.receivers import Answer, http_receiver
from tests.unit.cli.terminals import at_a_terminal

GOOD = '[channels.ops]\ntype = "webhook"\nurl = "http://127.0.0.1:8000/hook"\n'
BAD = '[server]\nbind = 1\ncolour = "red"\n'


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALERTD_CONFIG", raising=False)
    yield
    structlog.reset_defaults()


def invoked(*arguments: str, environ: dict[str, str] | None = None) -> click.testing.Result:
    return click.testing.CliRunner().invoke(cli.main, arguments, env=environ)


def test_check_of_a_good_file_sums_it_up() -> None:
    Path("a.toml").write_text(GOOD)
    result = invoked("check", "--config", "a.toml")
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "a.toml: ok, 0 rules, 1 channel\n",
        "",
    )


def test_check_takes_the_file_as_an_argument_too_but_not_two() -> None:
    Path("a.toml").write_text(GOOD)
    assert invoked("check", "a.toml").stdout == "a.toml: ok, 0 rules, 1 channel\n"
    elsewhere = {"ALERTD_CONFIG": "b.toml"}
    assert invoked("check", "a.toml", environ=elsewhere).stdout.startswith("a.toml: ok")
    both = invoked("check", "a.toml", "--config", "b.toml")
    assert (both.exit_code, "name one configuration" in both.stderr) == (2, True)


def test_check_of_a_bad_file_prints_every_mistake_and_exits_1() -> None:
    Path("a.toml").write_text(BAD)
    result = invoked("check", "--config", "a.toml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "a.toml:2: server.bind: expected a string, got a whole number; a string has quotes",
        "a.toml:3: server.colour: unknown key; known are allowed_hosts, bind, client_ca, "
        "keep_alive_timeout_secs, max_body_bytes, max_connections, max_events_per_request, "
        "max_requests_in_flight, public_url, send_timeout_secs, shutdown_grace_secs, tls_cert, "
        "tls_key",
    ]


def test_the_configuration_is_looked_for_in_the_stated_places() -> None:
    Path("etc").mkdir()
    Path("etc/alertd.toml").write_text(GOOD)
    Path("b.toml").write_text("")
    assert invoked("check").stdout.startswith("etc/alertd.toml: ok")
    environ = {"ALERTD_CONFIG": "b.toml"}
    assert invoked("check", environ=environ).stdout.startswith("b.toml: ok")
    chosen = invoked("check", "--config", "etc/alertd.toml", environ=environ)
    assert chosen.stdout.startswith("etc/alertd.toml: ok")


@pytest.mark.skipif(
    configuration.DEFAULT_PATHS[1].exists(), reason="alertd is configured on this machine"
)
def test_no_configuration_at_all_exits_1_and_says_where_it_was_looked_for() -> None:
    result = invoked("check")
    assert result.exit_code == 1
    assert "neither etc/alertd.toml nor /etc/alertd/alertd.toml; name one with" in result.stderr


@pytest.mark.parametrize("arguments", [["chek"], ["check", "--confg", "x"], ["run", "x"]])
def test_what_is_not_understood_exits_2(arguments: list[str]) -> None:
    assert invoked(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version_is_printed(arguments: list[str]) -> None:
    assert invoked(*arguments).stdout == f"alertd {__version__}\n"


def test_the_help_documents_the_exit_codes() -> None:
    text = invoked("--help").stdout
    assert [line.split()[0] for line in text.partition("Exit codes:")[2].splitlines() if line] == [
        *("0", "1", "2", "3", "4")
    ]


def test_run_refuses_a_bad_file_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "run", lambda path, config: pytest.fail("started"))
    Path("a.toml").write_text(BAD)
    assert invoked("run", "--config", "a.toml").exit_code == 1


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (None, 0, ""),
        (AlertdError("cannot listen on x"), 3, "cannot listen on x"),
        (
            ExceptionGroup("", [ExceptionGroup("", [AlertdError("no"), AlertdError("disk")])]),
            3,
            "disk",
        ),
        (ValueError("a defect"), 3, "ValueError: a defect"),
        (ExceptionGroup("", [AlertdError("no"), ValueError("a defect")]), 3, "a defect"),
    ],
)
def test_how_the_daemon_ended_is_logged_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, code: int, text: str
) -> None:
    def run(path: Path, config: Config) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(app, "run", run)
    Path("a.toml").write_text("")
    result = invoked("run", "--config", "a.toml")
    assert result.exit_code == code
    assert text in result.stderr
    has_traceback = "Traceback" in result.stderr
    assert has_traceback == ("defect" in text)


def test_the_installed_command_works_without_a_terminal_and_without_colours() -> None:
    Path("a.toml").write_text(BAD)
    environ = {**os.environ, "ALERTD_CONFIG": "a.toml", "PYTHONWARNINGS": "error"}
    result = subprocess.run(
        [sys.executable, "-m", "alertd", "check"],
        capture_output=True, text=True, env=environ, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.startswith("a.toml:2: server.bind: expected a string")
    assert "\x1b" not in result.stderr


def test_a_daemon_that_cannot_start_says_why_in_json_and_exits_3() -> None:
    Path("file").write_text("")
    Path("a.toml").write_text('[server]\nbind = "127.0.0.1:0"\n[store]\npath = "file/alertd.db"\n')
    result = subprocess.run(
        [sys.executable, "-m", "alertd", "run", "--config", "a.toml"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 3
    last = json.loads(result.stderr.splitlines()[-1])
    assert (last["level"], last["event"]) == ("critical", "daemon_failed")


ROUTED = """
[channels.ops]
type = "webhook"
url = "http://127.0.0.1:8000/hook"
[channels.boss]
type = "webhook"
url = "http://127.0.0.1:8000/boss"
escalate_after_secs = 600
escalate_to = ["owner"]
[channels.owner]
type = "webhook"
url = "http://127.0.0.1:8000/owner"
[[route]]
matchers = { severity = "critical" }
channels = ["ops"]
escalate_after_secs = 900
escalate_to = ["boss"]
[[rules]]
name = "Logins"
type = "SIMPLE_COUNT"
metric_name = "logins"
threshold = 1
window_duration_secs = 60
severity = "critical"
notifications = ["boss"]
escalate_after_secs = 60
escalate_to = ["owner"]
"""


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (
            ["--labels", "severity=critical"],
            [("ops", "route[0]", 0), ("boss", "route[0]", 900), ("owner", "channel boss", 1500)],
        ),
        (
            ["ruleName=Logins"],
            [("ops", "route[0]", 0), ("boss", "the rule", 0), ("owner", "the rule", 60)],
        ),
        (
            ["--labels", "ruleName=Logins,severity=info"],
            [("boss", "the rule", 0), ("owner", "the rule", 60)],
        ),
        (
            ["--labels", "ruleName=Logins", "severity=info"],
            [("boss", "the rule", 0), ("owner", "the rule", 60)],
        ),
        (["team=a,b"], []),
        ([], []),
    ],
)
def test_route_says_whom_an_incident_would_be_told(
    labels: list[str], told: list[tuple[str, str, int]]
) -> None:
    Path("a.toml").write_text(ROUTED)
    result = invoked("route", "--config", "a.toml", *labels)
    assert result.exit_code == 0
    lines = json.loads(result.stdout)
    assert [(line["channel"], line["via"], line["afterSecs"]) for line in lines] == told
    assert not result.stderr
    assert invoked("route", "--config", "a.toml", "severity").exit_code == 2
    assert invoked("route", "--config", "a.toml", "--labels", "a=b,severity").exit_code == 2


@pytest.mark.parametrize(
    "labels",
    [["--labels", "a=1,b=1,a=2"], ["--labels=a=1", "--labels=a=1"], ["--labels=a=1", "a="]],
)
def test_a_label_that_is_given_twice_is_refused(labels: list[str]) -> None:
    refused = invoked("route", *labels)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "'a' is there 2 times; an incident has one value of each label" in refused.stderr


def test_route_says_what_it_does_not_know() -> None:
    Path("a.toml").write_text(ROUTED)
    result = invoked("route", "--config", "a.toml", "--labels", "ruleName=nope")
    assert (result.exit_code, "has no rule 'nope'" in result.stderr) == (0, True)
    doubtful = invoked("route", "--config", "a.toml", "ruleName=Logins", "severity=crit", "team=db")
    assert doubtful.stderr.splitlines() == [
        "there is no severity 'crit'; did you mean 'critical'?",
        "no incident of 'Logins' has the label 'team': the rule does not group by it",
    ]
    shown = at_a_terminal("route", "--config", "a.toml", "severity=info")[1]
    assert "silences are not considered" in shown
    assert "no rule" not in shown
    assert "say ruleName=NAME" in shown
    assert "taken to be" not in shown
    assert "taken to be warning" in at_a_terminal("route", "--config", "a.toml", "team=db")[1]
    shown = at_a_terminal("route", "--config", "a.toml", "ruleName=Logins")[1]
    assert "say ruleName=NAME" not in shown
    assert "taken to be" not in shown


def test_route_names_a_label_that_was_most_likely_meant() -> None:
    Path("a.toml").write_text(ROUTED)
    result = invoked("route", "--config", "a.toml", "sevrity=critical", "team=db")
    assert result.stderr.splitlines() == [
        "no rule groups by 'sevrity', and no route is about it; did you mean 'severity'?"
    ]


@pytest.mark.parametrize("form", ["alertd", "alertmanager"])
def test_notify_test_sends_one_message_and_says_how_that_went(form: str) -> None:
    with http_receiver() as receiver:
        config = f'[channels.ops]\ntype = "webhook"\nurl = "{receiver.url()}"\nformat = "{form}"\n'
        Path("a.toml").write_text(config)
        sent = invoked("notify", "test", "ops", "--config", "a.toml")
        assert (sent.exit_code, sent.stderr) == (0, "")
        assert "took the test message" in sent.stdout
        assert receiver.url() not in sent.stdout, "the path may be a secret"
        [request] = receiver.received
        assert b"nothing is wrong" in request.body
        body = json.loads(request.body)
        assert body["kind" if form == "alertd" else "receiver"] in ("test", "ops")
        path = receiver.url().rpartition("/")[2]
        assert len(path) >= 4
        reason = f"cannot POST /{path}:\x1b[2J\n no_such_integration"
        receiver.otherwise = Answer(status=404, body=f"{reason} {'x' * 300}".encode())
        failed = invoked("notify", "test", "ops", "--config", "a.toml")
        assert failed.exit_code == 3
        assert "404" in failed.stderr
        said = failed.stderr.partition("ops: the receiver said: ")[2].rstrip("\n")
        assert said.startswith("cannot POST …: [2J no_such_integration xxx")
        assert len(said) == 200
        assert path not in failed.stderr
    unknown = invoked("notify", "test", "opps", "--config", "a.toml")
    assert unknown.exit_code == 2
    assert "did you mean 'ops'" in unknown.stderr


def test_notify_test_says_that_a_template_failed() -> None:
    with http_receiver() as receiver:
        body = "{{ 1 / (0 if incident.severity == 'info' else 1) }}"
        Path("a.toml").write_text(
            f'[channels.ops]\ntype = "webhook"\nurl = "{receiver.url()}"\nbody = "{body}"\n'
        )
        sent = invoked("notify", "test", "ops", "--config", "a.toml")
    assert sent.exit_code == 0
    assert "in the default words: the template of body failed: line 1: " in sent.stderr

"""What a start loads, each in a process of its own: what is not needed is not paid for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.test_cli import invoked
from tests.unit.store.store_samples import make_store

NEVER_AT_A_START = frozenset({"numpy", "apprise", "requests", "psutil"})
NOT_BEFORE_SOMEBODY_ASKS = frozenset(
    {"quart", "werkzeug", "flask", "hypercorn", "jinja2", "httpx", "httpcore", "smtplib"}
)


def loaded_by(code: str) -> set[str]:
    """Return the modules that a new interpreter has after ``code``."""
    tell = f"import sys\n{code}\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", tell], text=True).split())


def test_the_daemon_starts_without_the_web_framework_and_without_what_few_need() -> None:
    loaded = loaded_by("import alertd.cli.daemon, alertd.app")
    assert {"trio", "apsw", "alertd.http.express"} <= loaded
    assert not loaded & (NEVER_AT_A_START | NOT_BEFORE_SOMEBODY_ASKS)


def test_what_answers_probes_needs_no_web_framework() -> None:
    loaded = loaded_by(
        "import trio\n"
        "from functools import partial\n"
        "from alertd.app import _Daemon\n"
        "from alertd.config.settings import Config\n"
        "async def ask():\n"
        "    lane = _Daemon(None, Config())._site.express\n"
        "    for path in (b'healthz', b'readyz'):\n"
        "        data = b'GET /%b HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n' % path\n"
        "        await lane.answer(lane.recognise(data), b'', is_last=False)\n"
        "trio.run(ask)"
    )
    assert not loaded & (NEVER_AT_A_START | NOT_BEFORE_SOMEBODY_ASKS)


def test_what_the_first_many_events_need_is_not_loaded_on_the_loop() -> None:
    pytest.importorskip("numpy", reason="it is what is loaded")
    tell = subprocess.check_output([sys.executable, "-c", PUSH_MANY], text=True)
    assert tell.split() == ["loaded", "beside", "the", "loop", "202"]


PUSH_MANY = """
import sys, threading, trio

class Watch:
    def find_spec(name, path=None, target=None):
        if name == "numpy":
            on_loop = threading.current_thread() is threading.main_thread()
            print("loaded", "on" if on_loop else "beside", "the loop")

async def push():
    from tests.unit.http.fakes import Site
    site = Site()
    sys.meta_path.insert(0, Watch)
    answer = await site.push([{"metricName": "m", "value": value} for value in range(1_500)])
    print(answer.status)

trio.run(push)
"""


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ("", set()),
        ("annotations={'impact': '{{ value }}'}", {"jinja2"}),
        ("notifications=(Target('WEBHOOK', 'http://127.0.0.1:1/'),)", {"httpx", "jinja2"}),
    ],
)
def test_what_the_rules_need_to_be_told_is_loaded_before_they_judge(
    fields: str, needed: set[str]
) -> None:
    loaded = loaded_by(
        "from alertd.app import _load_for\n"
        "from alertd.model import Target\n"
        "from tests.unit.parts import record_of\n"
        f"_load_for([record_of({fields})])"
    )
    assert loaded & {"httpx", "jinja2"} == needed


def test_a_check_is_quick_with_a_database_too(tmp_path: Path) -> None:
    make_store(tmp_path / "alertd.db")
    (tmp_path / "a.toml").write_text(f'[store]\npath = "{tmp_path}/alertd.db"\n')
    loaded = loaded_by(
        f"from alertd import cli; cli.main(['check', '{tmp_path}/a.toml'], 'x', None, False)"
    )
    assert "apsw" in loaded
    assert not loaded & (NEVER_AT_A_START | NOT_BEFORE_SOMEBODY_ASKS | {"trio", "structlog"})


@pytest.mark.parametrize("command", ["run", "check", "db", "token"])
def test_a_command_loads_no_other(command: str) -> None:
    loaded = loaded_by(
        f"from alertd import cli; cli.main(['{command}', '--help'], 'x', None, False)"
    )
    mine = {"run": "daemon"}.get(command, command)
    commands = {
        "check",
        "daemon",
        "db",
        "events",
        "incidents",
        "messages",
        "notify",
        "reload",
        "route",
        "silence",
        "status",
        "token",
    }
    others = {f"alertd.cli.{other}" for other in commands - {mine}}
    assert f"alertd.cli.{mine}" in loaded
    assert not loaded & others


def test_who_mistypes_a_command_is_told_which_may_have_been_meant() -> None:
    result = invoked("rn")
    assert result.exit_code == 2
    assert "Did you mean 'run'?" in result.stderr


def test_the_help_names_every_command_and_what_it_is_for() -> None:
    lines = invoked("--help").stdout.partition("Commands:\n")[2].splitlines()
    described = dict(line.split(maxsplit=1) for line in lines[:15])
    assert set(described) == {
        *(
            "ack",
            "check",
            "db",
            "events",
            "incidents",
            "messages",
            "notify",
            "reload",
            "route",
            "run",
            "silence",
            "status",
            "token",
            "version",
            "why",
        )
    }

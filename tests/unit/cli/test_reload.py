"""``alertd reload``: what a person and a program get."""

from __future__ import annotations

import json

from tests.receivers import Answer, http_receiver
from tests.unit.cli.terminals import at_a_terminal
from tests.unit.cli.test_cli import invoked

NOTHING: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
REPORT = {
    "rules": NOTHING | {"added": ["a", "b"], "removed": ["c"]},
    "channels": NOTHING,
    "tokens": NOTHING,
    "policies": ["mute"],
    "atNextStart": ["store"],
    "warnings": [{"path": "/etc/alertd.toml:7", "message": "channels.old: nothing names it"}],
    "warningCount": 3,
}


def test_a_program_gets_the_report_and_a_person_what_changed() -> None:
    with http_receiver() as daemon:
        daemon.otherwise = Answer(body=json.dumps(REPORT).encode())
        piped = invoked("reload", "--url", daemon.url(""))
        assert json.loads(piped.stdout) == REPORT
        assert piped.stderr == (
            "/etc/alertd.toml:7: warning: channels.old: nothing names it\n"
            "and 2 more warnings: `alertd check` names all\n"
        )
        code, text = at_a_terminal("reload", "--url", daemon.url(""))
        assert code == 0
        for line in (
            "rules added: a, b",
            "rules removed: c",
            "[mute] applies now",
            "a change of [store] takes effect at the next start",
            "warning: channels.old",
        ):
            assert line in text
        assert "channels added" not in text
        daemon.otherwise = Answer(
            body=json.dumps(
                REPORT
                | {"rules": NOTHING, "policies": [], "atNextStart": []}
                | {"warnings": [], "warningCount": 0}
            ).encode()
        )
        assert "nothing has changed" in at_a_terminal("reload", "--url", daemon.url(""))[1]


def test_a_refusal_is_told_line_by_line() -> None:
    errors = [{"path": "a.toml:3", "message": "x: is wrong"}, {"path": "a.toml", "message": "no"}]
    with http_receiver() as daemon:
        body = json.dumps({"errors": errors, "errorsTruncated": True}).encode()
        daemon.otherwise = Answer(status=422, body=body)
        refused = invoked("reload", "--url", daemon.url(""))
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert refused.stderr == "a.toml:3: x: is wrong\na.toml: no\nand more\n"

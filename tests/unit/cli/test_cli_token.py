"""``alertd token new``, and how commands show a token to a daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner

from alertd.access import digest_of
from alertd.cli import main
from alertd.config.lint import examine
from tests.unit.cli.terminals import at_a_terminal

TOKEN = "a-token-of-more-than-32-characters-0"


def test_what_is_printed_is_a_token_and_its_configuration(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["token", "new", "--name", 'we"b', "--scope", "read", "--scope", "write"]
    )
    assert result.exit_code == 0
    token = result.stdout.strip()
    (tmp_path / "alertd.toml").write_text(result.stderr)
    (configured,) = examine(tmp_path / "alertd.toml", {}).config.auth.tokens
    assert configured.digest == digest_of(token.encode())
    assert (configured.name, sorted(configured.scopes)) == ('we"b', ["read", "write"])
    assert token not in result.stderr


def test_a_token_without_a_name_is_not_made() -> None:
    result = CliRunner().invoke(main, ["token", "new"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--name" in result.stderr


class Asked(HTTPServer):
    """Notes the tokens that it is shown."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.shown: list[str | None] = []
        self.items: list[dict[str, object]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Asked)
        self.server.shown.append(self.headers["Authorization"])
        body = json.dumps({"items": self.server.items, "nextCursor": None}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # theirs
        """Stay silent."""


@pytest.fixture
def asked() -> Iterator[Asked]:
    with Asked() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_commands_show_the_token_of_a_file_else_of_the_environment(
    asked: Asked, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    for arguments, environ, shown in (
        ([], {}, None),
        ([], {"ALERTD_TOKEN": TOKEN}, f"Bearer {TOKEN}"),
        (["--token-file", f"{tmp_path}/token"], {"ALERTD_TOKEN": "other"}, f"Bearer {TOKEN}"),
        ([], {"ALERTD_TOKEN_FILE": f"{tmp_path}/token"}, f"Bearer {TOKEN}"),
    ):
        result = CliRunner().invoke(
            main, ["silence", "list", "--url", asked.url, *arguments], env=environ
        )
        assert result.exit_code == 0, result.output
        assert asked.shown.pop() == shown


def test_a_token_that_cannot_be_sent_is_not_repeated(asked: Asked) -> None:
    result = CliRunner().invoke(
        main, ["silence", "list", "--url", asked.url], env={"ALERTD_TOKEN": "s\xe9cret\n\nx"}
    )
    assert result.exit_code == 3
    assert "the token is not one" in result.stderr
    assert "cret" not in result.output
    assert not asked.shown


def test_a_narrow_terminal_has_ids_of_silences_to_copy_and_matchers_as_they_are_typed(
    asked: Asked,
) -> None:
    asked.items = [
        {
            "id": "6f1c2d4e-0000-4000-8000-000000000001",
            "state": "active",
            "matchers": {"service": "shop", "host": "=~web-.*"},
            "endsAt": "2026-11-26T07:30:12.345678Z",
            "createdBy": "sam",
            "comment": "the new checkout",
        }
    ]
    code, text = at_a_terminal("silence", "list", "--url", asked.url, columns=80)
    assert code == 0
    assert "6f1c2d4e-0000-4000-8000-000000000001 active" in text
    assert "service=shop " in text
    assert "comment" in text
    assert "host=~web-.*" in text
    assert "07:30:12" in text
    assert "345678" not in text


def test_a_narrow_terminal_shows_of_which_incidents_nobody_knows(asked: Asked) -> None:
    incident: dict[str, object] = {
        "id": "6f1c2d4e-0000-5000-8000-000000000001",
        "state": "firing",
        "severity": "critical",
        "ruleName": "Errors",
        "groupLabels": {"service": "shop"},
        "currentValue": 137.0,
        "startedAt": "2026-11-26T07:30:12.345678Z",
    }
    for told, words in (
        ("delivered", []),
        ("pending", ["not told", "yet"]),
        ("failed", ["telling", "failed"]),
        ("held_back", ["held", "back"]),
        ("nobody", ["nobody", "to tell"]),
    ):
        asked.items = [incident | {"told": told}]
        code, text = at_a_terminal("incidents", "--url", asked.url, columns=80)
        assert code == 0
        assert str(incident["id"]) in text
        for word in " ".join(words).split():
            assert word in text
        assert told != "delivered" or "tell" not in text


def test_who_has_acknowledged_an_incident_stands_below_its_state(asked: Asked) -> None:
    seen: dict[str, object] = {
        "id": "6f1c2d4e-0000-5000-8000-000000000001",
        "state": "firing",
        "acknowledgedAt": "2026-11-26T07:35:12.345678Z",
        "acknowledgedBy": "sam",
        "severity": "critical",
        "ruleName": "Errors",
        "groupLabels": {"service": "shop"},
        "currentValue": 137.0,
        "startedAt": "2026-11-26T07:30:12.345678Z",
    }
    for by, words in (("sam", "acknowledged by sam"), ("", "acknowledged")):
        asked.items = [seen | {"acknowledgedBy": by}]
        code, text = at_a_terminal("incidents", "--url", asked.url)
        assert (code, "acknowledged by" in text) == (0, bool(by))
        assert words in text
    asked.items = [seen | {"acknowledgedAt": None, "acknowledgedBy": None}]
    assert "acknowledged" not in at_a_terminal("incidents", "--url", asked.url)[1]

"""Who gets into a running daemon: tokens from every source, reloads, and addresses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from alertd.access import new_token, written_hash
from tests.e2e.daemon import JSON, MINIMAL, Daemon

EVENT = b'{"metricName": "m"}'
RULE = (
    b'{"name": "r", "type": "SIMPLE_COUNT", "metricName": "m", "threshold": 1, '
    b'"windowDurationSecs": 60}'
)
ANYWHERE = MINIMAL.replace("127.0.0.1:0", "0.0.0.0:0")


def table(name: str, scope: str, source: str) -> str:
    return f'[[auth.tokens]]\nname = "{name}"\nscopes = ["{scope}"]\n{source}\n'


def bearer(token: str) -> dict[str, str]:
    return JSON | {"Authorization": f"Bearer {token}"}


def push(daemon: Daemon, headers: dict[str, str]) -> int:
    return daemon.client.post("/api/events", content=EVENT, headers=headers).status_code


def test_tokens_come_from_files_the_environment_and_credentials_and_go_with_a_reload(
    tmp_path: Path,
) -> None:
    sender, reader, writer, admin = (new_token() for _ in range(4))
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "reader").write_text(written_hash(reader))
    (tmp_path / "writer").write_text(f"{writer}\n")
    tokens = {
        "sender": table("sender", "ingest", f'hash = "{written_hash(sender)}"'),
        "reader": table("reader", "read", 'secret_file = "reader"'),
        "writer": table("writer", "write", 'secret_file = "writer"'),
        "admin": table("admin", "admin", 'secret_env = "ADMIN"'),
    }
    environ = {"CREDENTIALS_DIRECTORY": str(credentials), "ADMIN": admin}
    with Daemon(tmp_path, "".join(tokens.values()), environ=environ, minimal=ANYWHERE) as daemon:
        daemon.client.base_url = httpx.URL(daemon.url.replace("0.0.0.0", "127.0.0.1"))  # noqa: S104
        assert push(daemon, JSON) == push(daemon, bearer(new_token())) == 401
        assert push(daemon, bearer(reader)) == 403
        assert push(daemon, bearer(sender)) == push(daemon, bearer(admin)) == 202
        assert daemon.client.get("/metrics").status_code == 401
        read = daemon.client.get("/metrics", headers=bearer(reader))
        assert 'alertd_token_events_total{token="sender"} 1.0' in read.text
        assert 'alertd_http_requests_denied_total{reason="no_token"} 2.0' in read.text
        made = daemon.client.post("/api/alerts", content=RULE, headers=bearer(writer))
        line = daemon.wait_for_log("audit")
        assert (line["who"], line["operation"], line["outcome"], line["location"]) == (
            "writer", "createRule", "done", made.headers["Location"],
        )  # fmt: skip
        assert line["client"] == "127.0.0.1"

        del tokens["sender"]
        daemon.write_config("".join(tokens.values()))
        reload = daemon.client.post("/api/reload", headers=bearer(admin))
        assert reload.json()["tokens"] == {"added": [], "changed": [], "removed": ["sender"]}
        assert push(daemon, bearer(sender)) == 401
        daemon.write_config("")
        refused = daemon.client.post("/api/reload", headers=bearer(admin))
        assert refused.status_code == 422, "the file itself is wrong: its address needs a token"
        assert push(daemon, bearer(admin)) == 202
        text = "".join(map(str, daemon.lines)) + Path(f"/proc/{daemon.pid}/cmdline").read_text()
        assert not [secret for secret in (sender, reader, writer, admin) if secret in text]


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "192.0.2.1:9470"])
def test_without_tokens_it_does_not_start_where_others_can_reach_it(
    tmp_path: Path, bind: str
) -> None:
    (tmp_path / "alertd.toml").write_text(f'[server]\nbind = "{bind}"\n')
    ended = subprocess.run(
        [sys.executable, "-m", "alertd", "run", "--config", "alertd.toml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "alertd.toml:2: server.bind: expected a loopback address" in ended.stderr
    assert "as long as there is no [[auth.tokens]]" in ended.stderr


def test_the_command_line_shows_its_token(tmp_path: Path) -> None:
    token = new_token()
    config = table("ops", "read", f'hash = "{written_hash(token)}"')
    with Daemon(tmp_path, config) as daemon:
        for environ, code in (({}, 3), ({"ALERTD_TOKEN": token}, 0)):
            ended = subprocess.run(
                [sys.executable, "-m", "alertd", "silence", "list", "--url", daemon.url],
                env=daemon.environ | environ,
                capture_output=True, text=True, timeout=20, check=False,
            )  # fmt: skip
            assert ended.returncode == code, ended.stderr
            assert ("a token is needed" in ended.stderr) == (code == 3)
            assert ("set ALERTD_TOKEN, or name" in ended.stderr) == (code == 3)

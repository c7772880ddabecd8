"""A secret that stands in any place where one can be configured is never to be seen again."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from alertd.http.routes import ROUTES
from tests.e2e.daemon import JSON, Daemon

CANARY = "canary7f3a9"
"""Part of every secret here."""


def secret(name: str) -> str:
    return f"{CANARY}-{name}-0123456789-0123456789-abcdef"


def configure(folder: Path) -> tuple[str, dict[str, str]]:
    """Write the files; return the configuration and the environment."""
    for name in ("hook-key", "slack-url", "smtp-password", "token"):
        (folder / name).write_text(secret(name))
    (folder / "slack-url").write_text(f"http://127.0.0.1:9/{secret('slack')}")
    config = f"""
[[auth.tokens]]
name = "of a file"
scopes = ["admin"]
secret_file = "token"
[[auth.tokens]]
name = "of the environment"
scopes = ["read"]
secret_env = "READER"
[channels.hook]
type = "webhook"
url = "http://127.0.0.1:9/{secret("path")}?key={secret("query")}"
headers = {{Authorization = "Bearer {secret("header")}", X-Api-Key = "{secret("api-key")}"}}
secret_file = "hook-key"
[channels.login]
type = "webhook"
url = "http://user:{secret("userinfo")}@127.0.0.1:9/"
secret_env = "HOOK_KEY"
[channels.slack]
type = "slack"
url_file = "slack-url"
[channels.slack2]
type = "slack"
url_env = "SLACK_URL"
[channels.mail]
type = "email"
host = "127.0.0.1"
port = 9
from = "a@example.org"
to = ["b@example.org"]
tls = "none"
username = "alertd"
password_file = "smtp-password"
[[rules]]
name = "told to all"
type = "SIMPLE_COUNT"
metric_name = "m"
threshold = 0
window_duration_secs = 600
notifications = ["hook", "login", "slack", "slack2", "mail"]
"""
    environ = {
        "READER": secret("reader"),
        "HOOK_KEY": secret("hook-env"),
        "SLACK_URL": f"http://127.0.0.1:9/{secret('slack-env')}",
    }
    return config, environ


def test_no_secret_is_seen_in_logs_replies_errors_metrics_or_ps(tmp_path: Path) -> None:
    config, environ = configure(tmp_path)
    bearer = {"Authorization": f"Bearer {secret('token')}"}
    seen: list[str] = []
    with Daemon(tmp_path, config, environ=environ) as daemon:
        daemon.client.headers.update(bearer)
        endpoint = f"http://127.0.0.1:9/{secret('endpoint')}"
        rule = {
            "name": "of the API", "type": "SIMPLE_COUNT", "metricName": "m", "threshold": 0,
            "windowDurationSecs": 600,
            "notifications": [{"channel": "WEBHOOK", "endpoint": endpoint}],
        }  # fmt: skip
        made = daemon.client.post("/api/alerts", content=json.dumps(rule), headers=JSON)
        assert made.status_code == 201, made.text
        daemon.post_events([{"metricName": "m"}])
        daemon.wait_until(lambda: daemon.history(status="RETRY_PENDING"), "attempts have been made")
        daemon.wait_until(
            lambda: all(
                note["attempts"]
                for incident in daemon.history()
                for note in incident["notifications"]
            ),
            "each was attempted",
        )
        for _ in range(2):  # as it should be, and with a token that is refused
            for route in ROUTES:
                if route.method == "GET":
                    path = re.sub("<.*?>", made.json()["id"], route.path)
                    seen.append(daemon.client.get(path).text)
            daemon.client.headers["Authorization"] = f"Bearer {secret('wrong')}"
        daemon.client.headers.update(bearer)
        for incident in daemon.get("/api/incidents")["items"]:
            seen.append(daemon.client.get(f"/api/incidents/{incident['id']}").text)
        bad = daemon.client.post("/api/events", content="[{", headers=JSON)
        seen += [bad.text, str(bad.headers)]
        daemon.write_config(config + f'\n[channels.bad]\ntype = "webhook"\nurl = "{secret("bad")}"')
        refused = daemon.client.post("/api/reload")
        assert refused.status_code == 422
        seen.append(refused.text)
        daemon.write_config(config.replace("threshold = 0", "threshold = 1"))
        seen.append(daemon.client.post("/api/reload").text)
        seen.append(subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout)
        daemon.stop()
    told = [json.dumps(line) for line in daemon.lines] + seen
    assert len(told) > 50
    leaks = [text[max(0, text.index(CANARY) - 300) :][:600] for text in told if CANARY in text]
    assert not leaks, "\n".join(leaks)

"""No secret is ever shown: not in the log, in an answer, in an error, in what a command prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.daemon import Daemon
from tests.receivers import Answer, closed_port, http_receiver

CANARY = "C4N4RY"
ENVIRON = {
    "BOT_TOKEN": f"xoxb-{CANARY}",
    "CHAT_URL": "{receiver}/services/" + CANARY,
    "PHONE_URL": "json://ann:" + CANARY + "@127.0.0.1:{port}/" + CANARY,
    "KEY": CANARY,
}
CONFIG = """
[notify]
group_interval_secs = 0
retry_first_secs = 0.01
max_attempts = 2
allow_private_endpoints = true
[channels.hook]
type = "webhook"
url = "{hook}"
secret_env = "KEY"
headers = {{ X-Key = {{ env = "KEY", prefix = "Bearer " }}, X-Plain = "C4N4RY" }}
body = '{{"text": "{{{{ title }}}}"}}'
[channels.peer]
type = "alertmanager"
url = "{receiver}/{canary}"
headers = {{ Authorization = {{ env = "KEY" }} }}
[channels.chat]
type = "slack"
url_env = "CHAT_URL"
[channels.bot]
type = "slack"
token_env = "BOT_TOKEN"
channel = "#alerts"
api_url = "{receiver}/{canary}"
[channels.phone]
type = "apprise"
url_env = "PHONE_URL"
[channels.mail]
type = "email"
host = "127.0.0.1"
port = {smtp}
tls = "none"
from = "alertd@example.org"
to = ["C4N4RY@example.org"]
username = "{canary}"
password_env = "KEY"
"""
NAMES = ("hook", "peer", "chat", "bot", "phone", "mail")
PATHS = (
    *("/api/alerts", "/api/history", "/api/incidents?state=firing", "/api/notifications"),
    *("/api/notifications?status=FAILED", "/api/status", "/metrics", "/readyz", "/openapi.json"),
)


def test_no_secret_of_any_channel_is_shown_anywhere(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        receiver.script = [Answer(drop=True), Answer(500), Answer(302, {"Location": f"/{CANARY}"})]
        receiver.otherwise = Answer(403, body=CANARY.encode())
        root = receiver.url("")
        environ = {
            name: value.replace("{receiver}", root).replace("{port}", str(receiver.port))
            for name, value in ENVIRON.items()
        }
        config = CONFIG.format(
            hook=receiver.url(f"/{CANARY}?key={CANARY}"),
            receiver=root,
            canary=CANARY,
            smtp=closed_port(),
        )
        with Daemon(tmp_path, config, environ=environ) as daemon:
            endpoints = [
                {"channel": kind, "endpoint": receiver.url(f"/{CANARY}/{kind}")}
                for kind in ("WEBHOOK", "SLACK")
            ]
            endpoints.append({"channel": "EMAIL", "endpoint": "ops@example.org"})
            daemon.post_rule(
                name="Logins", type="SIMPLE_COUNT", metricName="logins", threshold=1,
                windowDurationSecs=3600, notifications=[{"channel": name} for name in NAMES],
            )  # fmt: skip
            daemon.post_rule(
                name="Endpoints", type="SIMPLE_COUNT", metricName="logins", threshold=1,
                windowDurationSecs=3600, notifications=endpoints,
            )  # fmt: skip
            daemon.post_events([{"metricName": "logins"}] * 2)
            daemon.wait_until_judged()
            daemon.wait_until_told()
            shown = [daemon.client.get(path).text for path in PATHS]
            shown += [
                daemon.client.get(f"/api/incidents/{incident['id']}").text
                for incident in daemon.history()
            ]
            shown.append(daemon.client.post("/api/reload").text)
            shown += [said(daemon, "notify", "test", name) for name in NAMES]
            shown.append(said(daemon, "check"))
            daemon.write_config(config.replace('secret_env = "KEY"', 'secret_env = "NO"'))
            shown += [said(daemon, "check"), daemon.client.post("/api/reload").text]
            daemon.stop()
            shown.append(json.dumps(daemon.lines))
        assert len(receiver.received) >= len(NAMES), "the channels were tried"
        assert any(CANARY in request.path for request in receiver.received)
    for text in shown:
        # Rules show whom they tell by name; an address of a person is no secret to who made it.
        assert CANARY not in text, text[max(0, text.index(CANARY) - 300) :][:600]


def said(daemon: Daemon, *arguments: str) -> str:
    """Return all that a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "alertd", *arguments, "--config", str(daemon.config_path)],
        capture_output=True,
        text=True,
        check=False,
        env=daemon.environ,
    )
    return done.stdout + done.stderr

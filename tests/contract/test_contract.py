"""A live daemon answers whatever can be made of its OpenAPI document as that document says.

schemathesis makes the requests: right ones, wrong ones, other methods, and sequences along the
links. A failure is shown with a curl line for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from alertd.access import new_token, written_hash
from tests.e2e.daemon import Daemon

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TIMEOUT_S = 300

TOKEN = new_token()
CONFIG = f"""
[[auth.tokens]]
name = "schemathesis"
scopes = ["admin"]
hash = "{written_hash(TOKEN)}"
[notify]
max_age_secs = 1
[channels.unreachable]
type = "webhook"
url = "http://127.0.0.1:9/"
[[rules]]
name = "Of a file"
type = "SIMPLE_COUNT"
metric_name = "of_a_file"
threshold = 1
window_duration_secs = 60
"""


def give_it_something_to_show(daemon: Daemon) -> None:
    """Have an incident on, a message given up, and an event refused."""
    daemon.post_rule(
        name="Errors", type="SIMPLE_COUNT", metricName="errors", threshold=0,
        windowDurationSecs=3600, notifications=[{"channel": "unreachable"}],
    )  # fmt: skip
    daemon.post_events([{"metricName": "errors"}, {"metricName": "errors", "value": "many"}])
    daemon.wait_until(lambda: daemon.history(status="FAILED"), "a message is given up")


def test_every_answer_is_as_the_document_says(tmp_path: Path) -> None:
    with Daemon(tmp_path, CONFIG) as daemon:
        daemon.client.headers["Authorization"] = f"Bearer {TOKEN}"
        give_it_something_to_show(daemon)
        command = [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(HERE / "schemathesis.toml"), "run", "--no-color"),
            *("--header", f"Authorization: Bearer {TOKEN}"),
            f"{daemon.url}/openapi.json",
        ]
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        daemon.assert_no_request_broke_off()

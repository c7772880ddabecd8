"""What the daemon is made of: who it says it is."""

from __future__ import annotations

from pathlib import Path

from alertd.access import Scope, digest_of
from alertd.app import _Daemon
from alertd.config.lint import examine
from alertd.http.gate import Ask
from alertd.http.routes import PUSH_EVENTS

SECRET = "s" * 32


async def test_our_name_is_that_of_http_wherever_lines_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "alertd.toml"
    path.write_text(f"""
[server]
bind = "monitor.example:9470"
allowed_hosts = ["other.example"]
[lines]
bind = "lines.example:9471"
[[auth.tokens]]
name = "t"
scopes = ["{Scope.INGEST.value}"]
hash = "sha256:{digest_of(SECRET.encode()).hex()}"
""")
    gate = _Daemon(path, examine(path).config)._gate
    authorization = f"Bearer {SECRET}"
    admitted = {
        name: gate.would_admit(Ask("POST", f"{name}.example:9470", authorization), PUSH_EVENTS)
        for name in ("monitor", "other", "lines", "evil")
    }
    assert admitted == {"monitor": True, "other": True, "lines": False, "evil": False}

"""Configurations that are right, from which the fuzzer makes ones that are nearly right."""

from __future__ import annotations

from typing import Final

_RULE: Final = """
[[rules]]
name = "r"
type = "MOVING_WINDOW"
metric_name = "m"
threshold = 1.5
window_duration_secs = 10
"""
_OPS: Final = """
[channels.ops]
type = "webhook"
url = "http://127.0.0.1:8000/hook"
"""

CONFIGURATIONS: Final = tuple(
    text.encode()
    for text in (
        """
[server]
bind = "[::1]:9470"
public_url = "https://alerts.example.org"
allowed_hosts = ["*.example.org"]
max_body_bytes = 1_000_000
keep_alive_timeout_secs = 7.5
[lines]
bind = "127.0.0.1:9471"
[store]
path = 'data/alertd.db'
durability = "relaxed"
event_retention_days = 3
[engine]
max_future_skew_secs = 60
[logging]
level = "debug"
format = "json"
[host_metrics]
enabled = true
""",
        """
[[auth.tokens]]
name = "web-1"
scopes = ["ingest", "read"]
hash = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
max_events_per_sec = 1e3
""",
        f"""
{_RULE}
bucket_interval_secs = 5
aggregate = "p99.9"
operator = ">="
matchers = {{service = "payment", host = "=~web-.*"}}
group_by = ["service"]
resolve_threshold = 1
for_secs = 0.5
on_no_data = "keep"
severity = "critical"
notifications = ["ops", {{channel = "WEBHOOK", endpoint = "https://example.org/"}}]
[rules.annotations]
summary = "{{{{ labels.host }}}} is at {{{{ value }}}}"
{_OPS}
""".replace('"MOVING_WINDOW"', '"BUCKETED_WINDOW"'),
        f"""
{_OPS}
headers = {{"X-A" = "b"}}
secret_env = "PATH"
[channels.ops-email]
type = "email"
host = "mail.example.org"
port = 587
from = "alertd@example.org"
to = ["ops@example.org"]
tls = "none"
[channels.team]
type = "slack"
url = "https://hooks.slack.com/services/T/B/X"
""",
        f"""
{_OPS}
[notify]
group_by = ["ruleName", "service"]
group_wait_secs = 1
flapping_changes = 20
[[route]]
matchers = {{severity = "critical"}}
channels = ["ops"]
continue = true
[[mute]]
name = "nights"
matchers = {{team = "web"}}
start = "22:00"
end = "06:00"
weekdays = ["mon", "tue"]
time_zone = "Europe/Berlin"
[[inhibit]]
source = {{ruleName = "Down"}}
target = {{severity = "warning"}}
equal = ["host"]
""",
    )
)
"""Each is read without a mistake."""

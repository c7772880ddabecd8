"""The configuration: what it says, and what is said about what is wrong with it."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from alertd.channels.config import EmailConfig, SlackConfig, WebhookConfig
from alertd.config.errors import ConfigError
from alertd.config.lint import examine
from alertd.config.settings import MAX_INCLUDED_FILES, Config
from alertd.model import RuleType, Target, rule_id_of_name
from alertd.rules import RuleSpec

RULE = """
[[rules]]
name = "R"
type = "SIMPLE_COUNT"
metric_name = "m"
threshold = 1
window_duration_secs = 60
"""


def written(folder: Path, text: str, name: str = "alertd.toml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    """Return the problems of a configuration, each without the folder of its file."""
    with pytest.raises(ConfigError) as caught:
        examine(path, environ or {})
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert examine(written(tmp_path, "")).config == Config()


def test_the_smallest_useful_file_is_read(tmp_path: Path) -> None:
    config = examine(
        written(
            tmp_path,
            """
[server]
bind = "127.0.0.1:9470"
[store]
path = "/var/lib/alertd/alertd.db"
durability = "full"
event_retention_days = 30
history_retention_days = 90
[engine]
max_future_skew_secs = 60
reconcile_interval_secs = 60
snapshot_interval_secs = 30
[host_metrics]
enabled = false
[notify]
group_by = ["ruleName"]
group_wait_secs = 0
group_interval_secs = 10
[channels.ops]
type = "webhook"
url = "http://127.0.0.1:8000/hook"
[channels.team]
type = "slack"
url_env = "SLACK_URL"
[channels.ops-email]
type = "email"
host = "mail.example.org"
from = "alertd@example.org"
to = ["ops@example.org"]
[[rules]]
name = "High Error Count"
type = "SIMPLE_COUNT"
metric_name = "error_count"
threshold = 100
window_duration_secs = 300
notifications = ["ops", { channel = "EMAIL", endpoint = "a@example.org" }]
""",
        ),
        {"SLACK_URL": "https://hooks.slack.com/services/x"},
    ).config
    assert config.store.resolve_path() == Path("/var/lib/alertd/alertd.db")
    assert config.channels == {
        "ops": WebhookConfig(url="http://127.0.0.1:8000/hook"),
        "team": SlackConfig(url_env="SLACK_URL"),
        "ops-email": EmailConfig(
            host="mail.example.org", sender="alertd@example.org", to=("ops@example.org",)
        ),
    }
    [rule] = config.rules
    assert rule.spec == RuleSpec(
        name="High Error Count",
        type=RuleType.SIMPLE_COUNT,
        metric_name="error_count",
        threshold=100,
        window_duration_secs=300,
        notifications=(Target("ops"), Target("EMAIL", "a@example.org")),
    )
    assert (rule.id, rule.file.name, rule.line) == (
        rule_id_of_name("High Error Count"),
        "alertd.toml",
        30,
    )


ROUTES = """[channels.ops]
type = "webhook"
url = "http://a/"
[[route]]
channels = ["ops"]
matchers = {severity = "critical"}
"""
WEBHOOK = 'type = "webhook"\nurl = "http://a/"\n'
CHANNEL = "[channels.ops]\n" + WEBHOOK
MISTAKES = [
    ('[[route]]\nchannels = ["ops"]', "2: route[0].channels[0]: 'ops' is not a configured channel"),
    (
        ROUTES + '[[route]]\nchannels = ["ops"]\nmatchers = {severity = "critical", dc = "eu"}',
        "9: route[1].matchers: is never reached: what it matches ends at route[0]; put it before",
    ),
    (
        ROUTES + 'escalate_after_secs = 9\nescalate_to = ["bos"]',
        "8: route[0].escalate_to[0]: 'bos' is not a configured channel",
    ),
    (
        ROUTES + "group_wait_secs = -1",
        "7: route[0].group_wait_secs: expected 0 seconds to 366 days",
    ),
    (
        CHANNEL + "escalate_after_secs = 9",
        "1: channels.ops.escalate_to: expected both escalate_after_secs and escalate_to",
    ),
    (
        CHANNEL + 'escalate_after_secs = 0\nescalate_to = ["boss"]\n[channels.boss]\n' + WEBHOOK,
        "4: channels.ops.escalate_after_secs: expected from one microsecond to 366 days",
    ),
    (
        CHANNEL + 'escalate_after_secs = 9\nescalate_to = ["bos"]',
        "5: channels.ops.escalate_to[0]: 'bos' is not a configured channel (ops)",
    ),
    (
        CHANNEL + 'escalate_after_secs = 9\nescalate_to = ["ops"]',
        "5: channels.ops.escalate_to[0]: expected another channel than this one",
    ),
    (RULE + 'escalate_to = "ops"', "8: rules[0].escalate_to: expected an array of channel names"),
    (
        RULE + 'escalate_to = ["ops"]\nescalate_after_secs = 5',
        "8: rules[0].escalate_to[0]: 'ops' is neither a configured channel (none)",
    ),
    (
        CHANNEL + RULE + 'escalate_to = ["ops"]',
        "11: rules[0].escalate_to: expected both escalate_after_secs and escalate_to, or neither",
    ),
    (
        RULE + 'escalate_after_secs = true\nescalate_to = ["ops"]',
        "8: rules[0].escalate_after_secs: expected a number, got true or false",
    ),
    (
        RULE + "escalate_after_secs = 5\nescalate_to = [5]",
        "9: rules[0].escalate_to[0]: expected a channel name or a table",
    ),
    ("[notify]\nflapping_changes = -1", "2: notify.flapping_changes: expected a whole number >= 0"),
    (
        "[notify]\nflapping_stable_secs = 0",
        "2: notify.flapping_stable_secs: expected a number >= 0.01",
    ),
    ("[[route]]\ncontinue = true", "1: route[0].channels: expected at least one channel"),
    ('[[mute]]\nstart = "22:00"\nend = "6:00"\nname = "n"', "3: mute[0].end: expected a time like"),
    (
        '[[mute]]\nname = "n"\nstart = "24:00"\nend = "06:00"',
        "3: mute[0].start: expected a time like \"22:00\", got '24:00'",
    ),
    (
        '[[mute]]\nname = "n"\nstart = "22:00"\nend = "06:00"\ntime_zone = "Europe/Bonn"',
        "5: mute[0].time_zone: expected a zone like \"Europe/Berlin\", got 'Europe/Bonn'",
    ),
    (
        '[[mute]]\nname = "n"\nstart = "22:00"\nend = "06:00"\ntime_zone = "europe/berln"',
        "5: mute[0].time_zone: expected a zone like \"Europe/Berlin\", got 'europe/berln'; did you "
        "mean 'Europe/Berlin'?",
    ),
    (
        '[[mute]]\nname = "n"\nstart = "22:00"\nend = "06:00"\nweekdays = ["mon", "Tue"]',
        "5: mute[0].weekdays[1]: expected mon, tue, wed, thu, fri, sat, sun, got 'Tue'; did you "
        "mean 'tue'?",
    ),
    (
        '[[mute]]\nname = "n"\nstart = "22:00"\nend = "06:00"\nweekdays = ["Sunday"]',
        "5: mute[0].weekdays[0]: expected mon, tue, wed, thu, fri, sat, sun, got 'Sunday'; did you "
        "mean 'sun'?",
    ),
    ('[[mute]]\nname = "n"\nend = "06:00"', "1: mute[0].start: is missing; expected a string"),
    ("[mute]\nx = 1", "1: mute: expected an array of tables: write [[mute]] above each"),
    (
        '[[inhibit]]\nsource = {a = "=~("}\ntarget = {a = "b"}',
        "2: inhibit[0].source.a: '(' is not a regular expression for RE2",
    ),
    ('[[inhibit]]\nsource = {}\ntarget = {a = "b"}', "2: inhibit[0].source: expected at least one"),
    ('[notify]\ngroup_by = ["a", "a"]', "2: notify.group_by[1]: expected each name once"),
    (
        '[channels.ops]\ntype = "webhook"\nurl = "http://a/"\nmax_per_minute = 0',
        "4: channels.ops.max_per_minute: must be between 1 and 10000",
    ),
    # what is written, and the line of the report
    ("server = 1", "1: server: expected a table, got a whole number"),
    ("[stor]\nx = 1", "1: stor: unknown key; did you mean 'store'?"),
    ("[aut]", "1: aut: unknown key; did you mean 'auth'?"),
    ("[auth]\ntoken = 1", "2: auth.token: unknown key; did you mean 'tokens'?"),
    ("auth = 1", "1: auth: expected a table, got a whole number"),
    ("[auth.tokens]\nname = 1", "1: auth.tokens: expected an array of tables: write [[auth.tok"),
    ('[server]\ntls_key = "a.pem"', "2: server.tls_key: has no meaning without tls_cert"),
    ('[server]\ntls_cert = "a.pem"', "2: server.tls_cert: expected a certificate and its key"),
    ('[server]\nallowed_hosts = ["http://a"]', "2: server.allowed_hosts[0]: expected a host name"),
    ("\n[server]\nbnd = 1", "3: server.bnd: unknown key; did you mean 'bind'?"),
    ("[server]\nbind = 9470", "2: server.bind: expected a string, got a whole number"),
    ('[server]\nbind = "9470"', "2: server.bind: expected host:port, like 127.0.0.1:9470 or"),
    ('[server]\nbind = "127.0.0.1"', "2: server.bind: expected host:port"),
    ('[server]\nbind = "127.0.0.1:x"', "2: server.bind: expected host:port"),
    ('[server]\nbind = "127.0.0.1:1/x"', "2: server.bind: expected host:port"),
    ('[server]\nbind = "[::1:1"', "2: server.bind: expected host:port"),
    ('[server]\nbind = "u@127.0.0.1:1"', "2: server.bind: expected host:port"),
    ('[server]\nbind = "0.0.0.0:1"', "2: server.bind: expected a loopback address (127.0.0.1, "),
    ('[server]\nbind = "[::]:9470"', "2: server.bind: expected a loopback address"),
    ('[server]\nbind = "example.org:1"', "2: server.bind: expected a loopback address"),
    ('[server]\npublic_url = "x"', "2: server.public_url: must be an http:// or https:// address"),
    (
        "[server]\nmax_connections = 0",
        "2: server.max_connections: expected a whole number >= 1, got",
    ),
    (
        "[server]\nmax_connections = 1.5",
        "2: server.max_connections: expected a whole number, got a n",
    ),
    (
        "[server]\nmax_body_bytes = 99999999999",
        "2: server.max_body_bytes: expected a whole number <=",
    ),
    (
        "[server]\nsend_timeout_secs = nan",
        "2: server.send_timeout_secs: expected a number >= 0.01, g",
    ),
    ("[server]\nsend_timeout_secs = inf", "2: server.send_timeout_secs: expected a number <="),
    (
        "[server]\nsend_timeout_secs = true",
        "2: server.send_timeout_secs: expected a number, got true",
    ),
    (
        f"[server]\nsend_timeout_secs = 1{'0' * 400}",
        "2: server.send_timeout_secs: expected a number, g",
    ),
    (
        "[engine]\nmax_series = 2026-01-01",
        "2: engine.max_series: expected a whole number, got a date",
    ),
    (
        "[engine]\nmax_queue_events = 10",
        "2: engine.max_queue_events: expected at least server.max_eve",
    ),
    ('[store]\npath = ""', "2: store.path: expected the path of a file, got ''"),
    (
        '[store]\ndurability = "ful"',
        '2: store.durability: expected "full" or "relaxed", got \'ful\'; d',
    ),
    (
        "[store]\nevent_retention_days = 0",
        "2: store.event_retention_days: expected a number >= 0.01",
    ),
    (
        "[notify]\nretry_first_secs = 301",
        "2: notify.retry_first_secs: expected at most retry_max_secs",
    ),
    ("[notify]\ngroup_by = [1]", "2: notify.group_by[0]: expected a string, got a whole number"),
    ('[logging]\nlevel = "warn"', '2: logging.level: expected "debug" or "info" or "warning" or'),
    ("[host_metrics]\nenabled = 1", "2: host_metrics.enabled: expected true or false, got a whole"),
    ("channels = 1", "1: channels: expected a table, got a whole number"),
    (
        '[[channels]]\nname = "ops"',
        "1: channels: expected a table, got an array; write [channels.NAME] above it",
    ),
    (
        '[[channels.ops]]\ntype = "webhook"',
        "1: channels.ops: expected a table, got an array; write [channels.ops] above it",
    ),
    (
        '[[server]]\nbind = "127.0.0.1:1"',
        "1: server: expected a table, got an array; write [server] above it",
    ),
    ("[channels]\nx = 1", "2: channels.x: expected a table, got a whole number"),
    (
        "[channels.x]\nurl = 'x'",
        '1: channels.x.type: is missing; expected one of "webhook", "slack"',
    ),
    (
        "[channels.x]\ntype = 'webhok'",
        '2: channels.x.type: expected one of "webhook", "slack", "email"',
    ),
    (
        "[channels.x]\ntype = 'pagerduty'",
        '2: channels.x.type: expected one of "webhook", "slack", "email", "alertmanager", '
        '"apprise", got \'pagerduty\'; "apprise" leads to many other services',
    ),
    (
        "[channels.x]\ntype = 'email'\nfrom = 'a@b.c'\nto = ['a@b.c']\nhost = 'b.c:587'",
        "5: channels.x.host: must be a host name or an IP address alone; the port is a key",
    ),
    ("[channels.x]\ntype = 5", '2: channels.x.type: expected one of "webhook", '),
    ("[channels.x]\ntype = 'webhook'", "1: channels.x.url: is missing; expected a string"),
    ("[channels.x]\ntype = 'webhook'\nurl = 'ftp://x'", "3: channels.x.url: must be an http://"),
    (
        "[channels.x]\ntype = 'webhook'\nurl = 'http://x'\nbody = '{{ nobody }}'",
        "4: channels.x.body: the template line 1: there is no variable 'nobody'",
    ),
    (
        "[channels.x]\ntype = 'webhook'\nurl = 'http://x'\nheaders.A = {fil = 'x'}",
        "4: channels.x.headers.A.fil: unknown key; did you mean 'file'?",
    ),
    (
        "[channels.x]\ntype = 'webhook'\nurl = 'http://x'\nheaders.A = {file = 5}",
        "4: channels.x.headers.A.file: expected a string, got a whole number",
    ),
    ("[channels.x]\ntype = 'slack'\nurl = 5", "3: channels.x.url: expected a string"),
    ("[channels.x]\ntype = 'slack'", "1: channels.x.url: exactly one of url, url_file, "),
    (
        "[channels.x]\ntype = 'slack'\nurl_env = 'NO'",
        "3: channels.x.url_env: the environment variable",
    ),
    (
        "[channels.SLACK]\ntype = 'slack'\nurl = 'http://x'",
        "1: channels.SLACK: expected another name",
    ),
    (
        "[channels.'']\ntype = 'slack'\nurl = 'http://x'",
        '1: channels."": expected a name of 1 to 100',
    ),
    ("rules = {}", "1: rules: expected an array of tables: write [[rules]] above each rule"),
    ("rules = [1]", "1: rules[0]: expected a table, got a whole number"),
    (f"{RULE}metricName = 'x'", "8: rules[0].metricName: unknown key; did you mean 'metric_name'?"),
    (f"{RULE}for = 1", "8: rules[0].for: unknown key; did you mean 'for_secs'?"),
    (f"{RULE}window = 1", "8: rules[0].window: unknown key; did you mean 'window_duration_secs'?"),
    (
        f"{RULE}expr = 'a > 1'",
        "8: rules[0].expr: unknown key; here that is 'metric_name', 'aggregate', 'operator' and "
        "'threshold'",
    ),
    (
        "[channels.a]\ntype = 'slack'\nurl = 'http://x'\n"
        "[[route]]\nchannels = ['a']\nreceiver = 'a'",
        "6: route[0].receiver: unknown key; here that is 'channels'",
    ),
    ("[[receivers]]\nname = 'a'", "1: receivers: unknown key; here that is 'channels'"),
    (f"{RULE}for_secs = '5m'", "8: rules[0].for_secs: expected seconds, like 300, got '5m'"),
    (f"{RULE}operators = '>'", "8: rules[0].operators: unknown key; did you mean 'operator'?"),
    (
        f"{RULE}resolve_threshold = 2",
        "8: rules[0].resolve_threshold: with '>' it resolves below this, "
        "so it cannot be above the threshold 1",
    ),
    (f"{RULE}for_secs = -1", "8: rules[0].for_secs: must be between 0 and 366 days, in seconds"),
    (f"{RULE}severity = 'bad'", '8: rules[0].severity: expected "critical" or "error" or "warning'),
    (
        f"{RULE}matchers = {{ h = '=~(' }}",
        "8: rules[0].matchers.h: '(' is not a regular expression",
    ),
    (f"{RULE}matchers.h = '=~('", "8: rules[0].matchers.h: '(' is not a regular expression"),
    (f"{RULE}matchers.7 = '=~('", "8: rules[0].matchers.7: '(' is not a regular expression"),
    (f"{RULE}group_by = ['a',\n'a']", "9: rules[0].group_by[1]: names the label 'a' twice"),
    (
        f"{RULE}notifications = 'ops'",
        "8: rules[0].notifications: expected an array of channel names",
    ),
    (
        f"{RULE}notifications = [\n'ops']",
        "9: rules[0].notifications[0]: 'ops' is neither a configured",
    ),
    (
        f"{RULE}notifications = [5]",
        "8: rules[0].notifications[0]: expected a channel name or a table",
    ),
    (
        f"{RULE}notifications = [{{}}]",
        "8: rules[0].notifications[0].channel: is missing; expected a s",
    ),
    (
        f"{RULE}notifications = [{{ channel = 'SLACK' }}]",
        "8: rules[0].notifications[0].endpoint: an endpoint is required with",
    ),
    (
        f"{RULE}bucket_interval_secs = 7",
        "8: rules[0].bucket_interval_secs: is only for BUCKETED_WINDOW; leave it out",
    ),
    (
        RULE.replace("SIMPLE_COUNT", "BUCKETED_WINDOW")
        + "on_no_data = 'alert'\nevaluate = 'early'",
        "9: rules[0].evaluate: 'early' cannot tell missing data from data",
    ),
    (f"{RULE}{RULE}", "10: rules[1].name: expected another name, 'R' is taken by "),
    ("include = 'x'", "1: include: expected an array of file patterns"),
    (
        "include = ['*.not',\n'gone.toml']",
        "2: include[1]: expected a file, 'gone.toml' is not there",
    ),
    ("a = 1\nb = = 2", "2: not valid TOML: Invalid value"),
    ("a = 1\nb = '''x\n\n", "2: not valid TOML: "),
    ("a = 1\nb = [\n1]\na = 2", "4: a: is there twice: in line 1 already"),
    (RULE + "threshold = 2\n", "8: rules[0].threshold: is there twice: in line 6 already"),
    ("[store]\n[engine]\n[store]", "3: store: is there twice: in line 1 already"),
    ("a = { b = 1, b = 2 }", "1: a.b: is there twice: in line 1 already"),
    ("a = 1\n[a]\nb = 1", "2: a: is there twice: in line 1 already"),
    ("a.b = 1\n[a]\nc = 1", "2: not valid TOML: Cannot declare"),
    ('a = 1\na = 2 []\n[]\n"\\q" = 1', "2: a: is there twice: in line 1 already"),
    (f"a = 1\na = 2 {'[' * 5000}", "2: a: is there twice: in line 1 already"),
    (f"[a]\n[a] b = {'[' * 5000}", "2: a: is there twice: in line 1 already"),
    (
        '[channels.ops]\ntype = "webhook"\nurl = "http://[[["',
        "3: channels.ops.url: is not a valid address",
    ),
    ('a.b = 1\n[a]\n[]\n"\\q" = 1', "2: not valid TOML: Cannot declare"),
    ("a = 1\nseverity = critical", '2: not valid TOML: a text needs quotes: severity = "…"'),
    ("notifications = [ops]", '1: not valid TOML: a text needs quotes: notifications = ["…"]'),
    ("channels = [\n ops,\n]", '2: not valid TOML: a text needs quotes: "…"'),
    ("m = { host = web }", '1: not valid TOML: a text needs quotes: host = "…"'),
    ("channel = #alerts", '1: not valid TOML: a text needs quotes: channel = "…"'),
    ("name = Host down", '1: not valid TOML: a text needs quotes: name = "…"'),
    ("is_active = True", "1: not valid TOML: true and false are written small: is_active = true"),
    ("name = \na = 1", "1: not valid TOML: a value is missing behind name ="),
    ("name =", "1: not valid TOML: a value is missing behind name ="),
    ("for_secs = 5m\na = 1", "1: not valid TOML: a length is a number of seconds, without a"),
    (f"{RULE}group_by = 'host'", '8: rules[0].group_by: expected an array, like ["host"], got a'),
    (f"{RULE}group_by = 5", '8: rules[0].group_by: expected an array, like ["…"], got a whole'),
    (f"{RULE}matchers = ['host=a']", "8: rules[0].matchers: expected a table, like { name ="),
    (
        f"{RULE}min_samples = '5'",
        "8: rules[0].min_samples: expected a whole number, got a string; leave the quotes out",
    ),
    (f"a = {'[' * 10_000}", " is nested too deeply"),
    (f"a = {'1' * 5000}", " not valid TOML: "),
]


@pytest.mark.parametrize(("text", "report"), MISTAKES, ids=[report for _, report in MISTAKES])
def test_a_mistake_is_named_with_its_file_line_key_and_what_was_expected(
    tmp_path: Path, text: str, report: str
) -> None:
    [problem] = problems_of(written(tmp_path, text))
    assert problem.startswith(f"alertd.toml:{report}")


def test_no_abbreviation_is_guessed_at_for_a_time_zone(tmp_path: Path) -> None:
    mute = '[[mute]]\nname = "n"\nstart = "22:00"\nend = "06:00"\ntime_zone = '
    for zone, hint in (("'CEST'", "'CEST'"), ("'utc'", "'utc'; did you mean 'UTC'?")):
        [problem] = problems_of(written(tmp_path, mute + zone))
        assert problem.endswith(f'expected a zone like "Europe/Berlin", got {hint}')


def test_every_mistake_is_reported_in_the_order_of_the_lines(tmp_path: Path) -> None:
    rules = RULE.replace("threshold = 1", "threshold = 'x'\nresolve_threshold = 5\nfor_secs = -1")
    text = f"""\
[[channels.odd]]
[server]
bind = 5
colour = "red"
max_connections = 0
[channels.web]
type = "webhook"
url = "nope"
headers = {{ A = 1, Host = "x", "Content-Type" = "x" }}
timeout_secs = 0
[channels.mail]
type = "email"
to = ["nobody", 5]
[notify]
retry_first_secs = "x"
retry_max_secs = 0.5
{rules}
notifications = ["web", "gone", 5, {{ channel = "SLACK", endpoint = "ftp://x" }}]
"""
    problems = problems_of(written(tmp_path, text))
    places = [" ".join(problem.split(" ")[:2]) for problem in problems]
    assert places == [
        "alertd.toml:1: channels.odd:",
        "alertd.toml:3: server.bind:",
        "alertd.toml:4: server.colour:",
        "alertd.toml:5: server.max_connections:",
        "alertd.toml:8: channels.web.url:",
        "alertd.toml:9: channels.web.headers.A:",
        "alertd.toml:9: channels.web.headers.Content-Type:",
        "alertd.toml:10: channels.web.timeout_secs:",
        "alertd.toml:11: channels.mail.from:",
        "alertd.toml:11: channels.mail.host:",
        "alertd.toml:13: channels.mail.to[1]:",
        "alertd.toml:15: notify.retry_first_secs:",
        "alertd.toml:22: rules[0].threshold:",
        "alertd.toml:24: rules[0].for_secs:",
        "alertd.toml:27: rules[0].notifications[1]:",
        "alertd.toml:27: rules[0].notifications[2]:",
        "alertd.toml:27: rules[0].notifications[3].endpoint:",
    ]


def test_a_wrong_rule_does_not_cause_reports_about_right_ones(tmp_path: Path) -> None:
    text = RULE.replace("SIMPLE_COUNT", "BUCKETED").replace("= 60", "= 'x'") + (
        "bucket_interval_secs = 7\naggregate = 'p99'\nevaluate = 'on_close'\n"
    )
    assert [problem.split(":")[2].strip() for problem in problems_of(written(tmp_path, text))] == [
        "rules[0].type",
        "rules[0].window_duration_secs",
    ]


def test_an_email_endpoint_without_a_mail_server_is_refused_before_it_is_needed(
    tmp_path: Path,
) -> None:
    text = f"{RULE}notifications = [{{ channel = 'EMAIL', endpoint = 'a@example.org' }}]\n"
    [problem] = problems_of(written(tmp_path, text))
    assert "rules[0].notifications[0].channel: EMAIL needs a mail server" in problem


def test_a_channel_with_mistakes_is_still_known_to_the_rules(tmp_path: Path) -> None:
    text = f"{RULE}notifications = ['x']\n[channels.x]\ntype = 'nope'\n"
    [problem] = problems_of(written(tmp_path, text))
    assert "channels.x.type" in problem


def test_included_files_add_rules_and_channels_in_the_order_of_their_names(tmp_path: Path) -> None:
    main = written(tmp_path, "include = ['rules.d/*.toml', 'rules.d/a.toml', 'none.d/*']")
    for name in ("b", "a", ".hidden"):
        rule = RULE.replace('"R"', f'"{name}"')
        channel = f"[channels.{name.strip('.')}]\ntype = 'webhook'\nurl = 'http://{name}'\n"
        written(tmp_path, f"{channel}{rule}notifications = ['a']", f"rules.d/{name}.toml")
    config = examine(main).config
    assert [(rule.spec.name, rule.file.name) for rule in config.rules] == [
        ("a", "a.toml"),
        ("b", "b.toml"),
    ]
    assert set(config.channels) == {"a", "b"}


def test_names_are_taken_over_all_files_and_both_places_are_told(tmp_path: Path) -> None:
    channel = "[channels.x]\ntype = 'webhook'\nurl = 'http://x'\n"
    main = written(tmp_path, f"include = ['more.toml']\n{channel}{RULE}")
    written(tmp_path, f"{channel}{RULE}", "more.toml")
    problems = [problem.replace(f"{tmp_path}/", "") for problem in problems_of(main)]
    assert problems == [
        "more.toml:1: channels.x: expected another name, 'x' is taken by alertd.toml:2",
        "more.toml:6: rules[0].name: expected another name, 'R' is taken by alertd.toml:6",
    ]


def test_an_included_file_holds_rules_and_channels_only(tmp_path: Path) -> None:
    main = written(tmp_path, "include = ['more.toml']")
    written(tmp_path, "include = ['x']\n[server]\nbind = 5\n", "more.toml")
    assert problems_of(main) == [
        "more.toml:1: include: belongs in alertd.toml; expected [[rules]] and [channels.*] only",
        "more.toml:2: server: belongs in alertd.toml; expected [[rules]] and [channels.*] only",
    ]


def test_a_mistake_in_one_file_does_not_hide_those_of_another(tmp_path: Path) -> None:
    main = written(tmp_path, "include = ['*.inc']\n[server]\nbind = 5\n")
    written(tmp_path, "x = = 1", "a.inc")
    written(tmp_path, "x = 1", "b.inc")
    assert [problem.split(": ")[0] for problem in problems_of(main)] == [
        "alertd.toml:3",
        "a.inc:1",
        "b.inc:1",
    ]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_lines_are_counted_alike_whatever_ends_them(tmp_path: Path, line_end: str) -> None:
    path = tmp_path / "alertd.toml"
    path.write_bytes(line_end.join(["[server]", "# é", "bind = 5"]).encode())
    assert problems_of(path) == [
        "alertd.toml:3: server.bind: expected a string, got a whole number; a string has quotes"
    ]


def test_a_file_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "gone.toml") == [
        "gone.toml: cannot be read: No such file or directory"
    ]
    (tmp_path / "folder.toml").mkdir()
    assert problems_of(tmp_path / "folder.toml") == ["folder.toml: cannot be read: Is a directory"]
    (tmp_path / "latin.toml").write_bytes(b"# fine\n# caf\xe9\n")
    assert problems_of(tmp_path / "latin.toml") == [
        "latin.toml:2: expected UTF-8 text; save the file in that encoding"
    ]
    with (tmp_path / "huge.toml").open("wb") as stream:
        stream.truncate(5 * 1024 * 1024)
    assert problems_of(tmp_path / "huge.toml") == ["huge.toml: is larger than 4 MiB"]


def test_a_secret_in_a_wrong_place_is_not_printed(tmp_path: Path) -> None:
    text = """
[channels.x]
type = "slack"
url = "hooks.slack.com/services/very-secret"
[channels.y]
type = "webhook"
url = "https://example.org"
headers = { "Authorization:" = "very-secret" }
secret = "very-secret"
"""
    problems = problems_of(written(tmp_path, text))
    assert len(problems) == 3
    assert not [problem for problem in problems if "very-secret" in problem]


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "data/alertd.db"),
        ({"STATE_DIRECTORY": "/var/lib/alertd"}, "/var/lib/alertd/alertd.db"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/alertd.db"),
    ],
)
def test_the_database_is_in_the_state_directory_by_default(
    environ: dict[str, str], path: str
) -> None:
    assert Config().store.resolve_path(environ) == Path(path)


@pytest.mark.parametrize(
    ("section", "base"),
    [
        ("", "http://127.0.0.1:9470"),
        ('bind = "[::1]:80"', "http://[::1]:80"),
        ('bind = "localhost:0"', "http://localhost:0"),
        ('public_url = "https://alerts.example.org/a/"', "https://alerts.example.org/a"),
    ],
)
def test_links_start_with_the_public_address(tmp_path: Path, section: str, base: str) -> None:
    assert examine(written(tmp_path, f"[server]\n{section}\n")).config.server.base_url == base


def test_more_included_files_than_the_bound_are_refused(tmp_path: Path) -> None:
    main = written(tmp_path, "\ninclude = ['*.inc']")
    for number in range(MAX_INCLUDED_FILES + 1):
        (tmp_path / f"{number}.inc").touch()
    assert problems_of(main) == ["alertd.toml:2: include: expected at most 1000 files, got 1001"]


def test_a_mark_of_the_byte_order_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "alertd.toml"
    path.write_bytes(codecs.BOM_UTF8 + b"[server]\nbind = 5\n")
    [problem] = problems_of(path)
    assert problem.startswith("alertd.toml:2: server.bind: expected a string"), "lines are as seen"


@pytest.mark.parametrize("text", ["url = https://hooks.example/s3cr3t", "token = s3cr3t"])
def test_no_value_is_shown_of_what_is_not_even_toml(tmp_path: Path, text: str) -> None:
    [problem] = problems_of(written(tmp_path, text))
    assert "a text needs quotes" in problem
    assert "s3cr3t" not in problem

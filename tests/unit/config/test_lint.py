"""Warnings: what a configuration says that works and is most likely not meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from alertd.config.lint import examine
from alertd.model import Severity, Target
from alertd.rules import RuleSpec
from tests.unit.config.test_config import written
from tests.unit.parts import record_of

RULE = """
[[rules]]
name = "Host down"
type = "SIMPLE_COUNT"
metric_name = "m"
threshold = 1
window_duration_secs = 60
group_by = ["host", "dc"]
notifications = ["ops"]
[channels.ops]
type = "webhook"
url = "http://127.0.0.1:9/"
"""
NIGHTS = '[[mute]]\nname = "n"\nstart = "22:00"\nend = "06:00"\n'
OLD = '[channels.old]\ntype = "webhook"\nurl = "http://127.0.0.1:9/"\n'
LINES = RULE.count("\n")
MAIL = """
[channels.mail]
type = "email"
host = "localhost"
from = "a@example.org"
to = ["b@example.org"]
tls = "none"
"""


def warnings_of(folder: Path, text: str, others: Sequence[RuleSpec] = ()) -> list[str]:
    """Return the warnings about ``text`` behind ``RULE``, without the folder; lines from there."""
    path = written(folder, RULE + text)
    found = examine(path, {}).warnings(others)
    assert all(warning.file == path for warning in found)
    return [f"{(warning.line or 0) - LINES}: {warning.text}" for warning in found]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[[route]]\nmatchers = {host = "a", ruleName = "Host down"}\nchannels = ["ops"]\n',
        NIGHTS,
        '[[inhibit]]\nsource = {host = "a"}\ntarget = {ruleName = "=~Host.*"}\nequal = ["dc"]\n',
    ],
)
def test_what_is_meant_gives_no_warning(tmp_path: Path, text: str) -> None:
    assert warnings_of(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[[route]]\nchannels = ["ops"]\nmatchers.host = "a"\nmatchers.team = "db"\n',
            "4: route[0].matchers.team: matches nothing: no rule groups by 'team'",
        ),
        (
            NIGHTS + 'matchers = {severity = "info"}\n',
            "5: mute[0].matchers.severity: matches nothing: no rule is of such a severity",
        ),
        (
            '[[inhibit]]\nsource = {ruleName = "Host dwn"}\ntarget = {host = "a"}\nequal=["dc"]\n',
            "2: inhibit[0].source.ruleName: matches nothing: no rule has such a name; did you mean",
        ),
        (
            '[[inhibit]]\nsource = {host = "a"}\ntarget = {rack = "a"}\n',
            "3: inhibit[0].target.rack: matches nothing: no rule groups by 'rack'",
        ),
        (
            '[[inhibit]]\nsource = {host = "a"}\ntarget = {dc = "b"}\nequal = ["dc", "city"]\n',
            "4: inhibit[0].equal[1]: no rule that it is about groups by 'city'",
        ),
        (
            OLD,
            "1: channels.old: no rule, route or channel names it",
        ),
        (MAIL, "2: channels.mail: no rule, route or channel names it"),
        (
            '[[route]]\nmatchers.host = "a"\nchannels = [\n"ops",\n"ops",\n]\n',
            "5: route[0].channels[1]: 'ops' is there twice",
        ),
        (NIGHTS + 'weekdays = ["mon", "tue", "mon"]\n', "5: mute[0].weekdays[2]: 'mon' is there"),
        (
            '[notify]\ngroup_by = ["ruleName", "host", "rack"]\n',
            "2: notify.group_by[2]: no rule groups by 'rack'",
        ),
        (
            '[[route]]\nchannels = ["ops"]\ngroup_by = ["severity", "rack"]\n',
            "3: route[0].group_by[1]: no rule groups by 'rack'",
        ),
        (
            '[[mute]]\nname = "n"\nstart = "22:00"\nend = "22:00"\n',
            "4: mute[0].end: is also when it starts, so it holds for 24 hours",
        ),
        (
            f'[[auth.tokens]]\nname = "a"\nscopes = ["read", "read"]\nhash = "sha256:{"0" * 64}"\n',
            "3: auth.tokens[0].scopes[1]: 'read' is there twice",
        ),
    ],
)
def test_what_does_nothing_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    [warning] = warnings_of(tmp_path, text)
    assert warning.startswith(says)


HOSTS = '[[mute]]\nname = "n"\nstart = "22:00"\nend = "06:00"\nmatchers = '


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HOSTS + '{host = "web-.*"}\n', "5: mute[0].matchers.host: 'web-.*' looks like"),
        (
            HOSTS + '{ruleName = "Host.*"}\n',
            "5: mute[0].matchers.ruleName: matches nothing: no rule has such a name; "
            "did you mean '=~Host.*'?",
        ),
        (
            HOSTS + '{severity = "warning|info"}\n',
            "5: mute[0].matchers.severity: expected one of critical, error, warning, info, "
            "got 'warning|info'; did you mean '=~warning|info'?",
        ),
        (
            '[[route]]\nchannels = ["ops"]\nmatchers = {host = "a|b"}\n',
            "3: route[0].matchers.host: 'a|b' looks like a regular expression",
        ),
        (
            '[[inhibit]]\nsource = {host = "^a"}\ntarget = {host = "b"}\n',
            "2: inhibit[0].source.host: '^a' looks like a regular expression",
        ),
        (
            '[[inhibit]]\nsource = {host = "a"}\ntarget = {host = "==~b"}\n',
            "3: inhibit[0].target.host: '=~b' looks like an operator with a value",
        ),
    ],
)
def test_a_value_that_looks_like_a_pattern_is_told_wherever_matchers_are(
    tmp_path: Path, text: str, says: str
) -> None:
    [warning] = warnings_of(tmp_path, text)
    assert warning.startswith(says)


def rule(name: str, **keys: object) -> str:
    """Return a further rule, which somebody is told of unless ``keys`` say otherwise."""
    given = {
        "name": name,
        "type": "MOVING_WINDOW",
        "metric_name": "m",
        "threshold": 1,
        "window_duration_secs": 60,
        "notifications": ["ops"],
    } | keys
    lines = (f"{key} = {msgspec.json.encode(value).decode()}" for key, value in given.items())
    return "\n".join(["", "[[rules]]", *lines, ""])


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"aggregate": "count", "operator": "<", "threshold": 0},
            "threshold: count is a whole number, 0 or more, so count < 0 never holds",
        ),
        (
            {"type": "SIMPLE_COUNT", "operator": "==", "threshold": 2.5},
            "threshold: count is a whole number, 0 or more, so count == 2.5 never holds",
        ),
        (
            {"aggregate": "stddev", "operator": ">", "threshold": -1},
            "threshold: stddev is 0 or more, so stddev > -1 always holds",
        ),
        ({"description": "{{ labels.host }} is slow"}, "description: is no template, so it is"),
        ({"description": "{% if value %}bad{% endif %}"}, "description: is no template, so it is"),
        (
            {"annotations.runbook_url": "https://example.org/a"},
            "annotations.runbook_url: is told as text: as the rule's runbook_url every message has",
        ),
        (
            {"aggregate": "count", "operator": ">=", "threshold": 5, "resolve_threshold": 0},
            "resolve_threshold: count is a whole number, 0 or more, so count >= 0 always holds",
        ),
    ],
)
def test_a_bound_that_no_value_or_each_is_beyond_is_told(
    tmp_path: Path, keys: dict[str, object], says: str
) -> None:
    [warning] = warnings_of(tmp_path, rule("odd", **keys))
    assert warning.split(": ", 1)[1].startswith(f"rules[1].{says}")


@pytest.mark.parametrize(
    "keys",
    [
        {"annotations.runbook_url": "https://a/b", "runbook_url": "https://a/c"},
        {"annotations.runbook_url": "https://a/{{ rule | urlencode }}"},
    ],
)
def test_a_runbook_that_is_annotated_beside_the_link_or_by_a_template_is_meant(
    tmp_path: Path, keys: dict[str, object]
) -> None:
    assert warnings_of(tmp_path, rule("odd", **keys)) == []


def test_a_rule_for_missing_data_alone_is_meant(tmp_path: Path) -> None:
    keys = {"aggregate": "stddev", "operator": "<", "threshold": 0, "on_no_data": "alert"}
    assert warnings_of(tmp_path, rule("silent", **keys)) == []


def test_rules_that_nobody_is_told_of_are_told_of_once(tmp_path: Path) -> None:
    untold = rule("a", notifications=[]) + rule("b", notifications=[], group_by=["host"])
    [warning] = warnings_of(tmp_path, untold)
    assert warning.startswith("8: rules[1].notifications: neither this rule nor a route that")
    assert warning.endswith("nobody is told (and so of 1 more)")
    of_hosts = untold + '[[route]]\nchannels = ["ops"]\nmatchers = {host = "web"}\n'
    [warning] = warnings_of(tmp_path, of_hosts)
    assert warning.endswith("nobody is told"), "a route can take the other"
    assert warnings_of(tmp_path, untold + '[[route]]\nchannels = ["ops"]\n') == []


def test_without_any_channel_rules_are_there_to_record(tmp_path: Path) -> None:
    path = written(tmp_path, rule("a", notifications=[]))
    assert examine(path, {}).warnings() == []


CHAT = """
[channels.chat]
type = "webhook"
url = "http://127.0.0.1:9/"
body = '["{{ incident.labels.host }}", "{{ incident.labels.rack }}"]'
[[route]]
channels = ["ops", "chat"]
"""


def test_a_route_to_templates_that_show_what_nothing_there_has_is_told_of(tmp_path: Path) -> None:
    [warning] = warnings_of(tmp_path, CHAT)
    assert warning.startswith("7: route[0].channels[1]: the templates of 'chat' show labels.rack, ")
    assert warnings_of(tmp_path, CHAT, [other(group_by=("rack",))]) == []
    narrow = CHAT + 'matchers = {severity = "warning"}\n'
    elsewhere = other(group_by=("rack",), severity=Severity.CRITICAL)
    assert len(warnings_of(tmp_path, narrow, [elsewhere])) == 1


def other(**fields: object) -> RuleSpec:
    return record_of("r1", **fields).spec


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (
            '[[route]]\nmatchers = {team = "db"}\nchannels = ["ops"]\n',
            other(group_by=("team",)),
        ),
        (
            OLD,
            other(notifications=(Target("old"),)),
        ),
        (
            OLD,
            other(escalate_after_secs=60, escalate_to=(Target("old"),)),
        ),
        (MAIL, other(notifications=(Target("EMAIL", "a@example.org"),))),
    ],
)
def test_rules_made_over_http_count_as_well(tmp_path: Path, text: str, made: RuleSpec) -> None:
    assert len(warnings_of(tmp_path, text)) == 1
    assert warnings_of(tmp_path, text, [made]) == []


@pytest.mark.parametrize(
    "use",
    [
        '[[route]]\nchannels = ["old"]\n',
        '[[route]]\nchannels = ["ops"]\nescalate_after_secs = 60\nescalate_to = ["old"]\n',
        MAIL + 'escalate_after_secs = 60\nescalate_to = ["old"]\n[[route]]\nchannels = ["mail"]\n',
    ],
)
def test_a_channel_that_anything_names_is_of_use(tmp_path: Path, use: str) -> None:
    assert warnings_of(tmp_path, OLD + use) == []


def test_labels_of_one_side_of_an_inhibition_are_not_equal_to_anything(tmp_path: Path) -> None:
    text = '[[inhibit]]\nsource = {ruleName = "rule r1"}\ntarget = {host = "a"}\nequal = ["dc"]\n'
    [warning] = warnings_of(tmp_path, text, [other(group_by=("rack",))])
    assert warning.startswith("4: inhibit[0].equal[0]: only the rules of one side group by 'dc'")


ROUTE = '[[route]]\nchannels = ["ops"]\nmatchers = {%s}\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            ROUTE % 'severity = "crit"',
            "3: route[0].matchers.severity: expected one of critical, error, warning, info, got",
        ),
        (
            NIGHTS + 'matchers = {severity = "!=page"}\n',
            "5: mute[0].matchers.severity: expected one of critical, error, warning, info, got",
        ),
        (
            '[[inhibit]]\nsource = {severity = "=~crit"}\ntarget = {host = "b"}\n',
            "2: inhibit[0].source.severity: expected one of critical,",
        ),
        (
            ROUTE % 'severity = "error"' + ROUTE % 'severity = "page"',
            "6: route[1].matchers.severity: expected one of critical,",
        ),
        (
            ROUTE % '"a\\tb" = "x"',
            '3: route[0].matchers."a\\tb": names a label, which must be 1 to',
        ),
        (
            ROUTE % 'host = "=~web.*"' + ROUTE % 'host = "web-1"',
            "6: route[1].matchers: is never reached: what it matches ends at route[0]",
        ),
        (
            ROUTE % 'host = "=~.*"' + '[[route]]\nchannels = ["ops"]\n',
            "4: route[1].matchers: is never reached: what it matches ends at route[0]",
        ),
        (
            '[[inhibit]]\nsource = {dc = "=~eu.*"}\ntarget = {dc = "eu1"}\n',
            "3: inhibit[0].target: holds nothing back: what it matches is a source",
        ),
        (
            '[[inhibit]]\nsource = {dc = "b"}\ntarget = {host = "d", dc = "b"}\n',
            "3: inhibit[0].target: holds nothing back: what it matches is a source",
        ),
    ],
)
def test_what_has_no_effect_whatever_the_rules_starts_with_a_warning(
    tmp_path: Path, text: str, says: str
) -> None:
    known = [other(severity=severity, group_by=("host", "dc")) for severity in Severity]
    found = warnings_of(tmp_path, text, known)
    assert [warning[: len(says)] for warning in found] == [says]


def test_without_any_rule_nothing_is_said_of_what_rules_would_use(tmp_path: Path) -> None:
    channel = RULE[RULE.index("[channels") :]
    path = written(tmp_path, channel + '[[route]]\nmatchers = {team = "a"}\nchannels = ["ops"]\n')
    assert examine(path, {}).warnings() == []


def test_labels_in_templates_are_told_at_the_rule_in_whichever_file(tmp_path: Path) -> None:
    rule = RULE.partition("[channels")[0].replace('"host", "dc"', '"dc"')
    written(tmp_path, rule + 'annotations.what = "{{ labels.host }}"\n', "rules.d/a.toml")
    path = written(
        tmp_path,
        'include = ["rules.d/*.toml"]\n[channels.ops]\ntype = "webhook"\nurl = "http://127.0.0.1:9/"\n'
        "body = '\"{{ incident.labels.rack }}\"'\n",
    )
    found = examine(path, {}).warnings()
    assert [(w.file.name, w.line, w.key) for w in found] == [
        ("a.toml", 9, "rules[0].notifications[0]"),
        ("a.toml", 10, "rules[0].annotations.what"),
    ]
    assert "the labels in group_by and no others" in found[1].message


def test_warnings_come_by_file_and_line(tmp_path: Path) -> None:
    text = (
        '[channels.b]\ntype = "webhook"\nurl = "http://127.0.0.1:9/"\n'
        '[[route]]\nmatchers = {team = "db"}\nchannels = ["ops"]\n'
        '[channels.a]\ntype = "webhook"\nurl = "http://127.0.0.1:9/"\n'
    )
    keys = [warning.partition(":")[0] for warning in warnings_of(tmp_path, text)]
    assert keys == ["1", "5", "7"]


def test_an_endpoint_of_a_rule_that_nothing_is_sent_to_is_told(tmp_path: Path) -> None:
    target = '{channel = "WEBHOOK", endpoint = "http://127.0.0.1:9/x"}'
    rule = RULE.replace('"ops"]', f'"ops", {target}]')
    [warning] = examine(written(tmp_path, rule), {}).warnings()
    assert warning.key == "rules[0].notifications[1].endpoint"
    assert warning.message.startswith("leads to a loopback address, which")
    allowed = "[notify]\nallow_private_endpoints = true\n"
    assert examine(written(tmp_path, allowed + rule), {}).warnings() == []


def test_a_pattern_that_names_no_file_is_told_until_there_is_one(tmp_path: Path) -> None:
    path = written(tmp_path, 'include = ["rules.d/*.toml"]\n' + RULE)
    assert [str(warning) for warning in examine(path, {}).warnings()] == [
        f"{path}:1: include[0]: no file matches 'rules.d/*.toml'"
    ]
    (tmp_path / "rules.d").mkdir()
    (tmp_path / "rules.d/a.toml").touch()
    assert examine(path, {}).warnings() == []


@pytest.mark.parametrize(
    ("channel", "is_elsewhere"),
    [
        ('type = "webhook"\nurl = "https://hooks.example.org/x"\n', True),
        ('type = "webhook"\nurl = "http://192.0.2.7/x"\n', True),
        ('type = "webhook"\nurl = "http://localhost:9/x"\n', False),
        ('type = "alertmanager"\nurl = "http://[::1]:9093"\n', False),
        ('type = "slack"\nurl = "https://hooks.slack.com/services/T/B/x"\n', True),
        (MAIL.split("\n", 2)[2], False),
        (MAIL.split("\n", 2)[2].replace("localhost", "smtp.example.org"), True),
    ],
)
def test_links_that_lead_nowhere_where_a_channel_is_are_warned_of(
    tmp_path: Path, channel: str, is_elsewhere: bool
) -> None:
    text = f"[channels.ops]\n{channel}"
    found = examine(written(tmp_path, text), {}).warnings()
    assert len(found) is int(is_elsewhere)
    if is_elsewhere:
        assert "channels.ops: is not on this machine" in found[0].text
        assert found[0].text.endswith("set server.public_url")
    known = f'{text}[server]\npublic_url = "https://alertd.example"\n'
    assert examine(written(tmp_path, known), {}).warnings() == []

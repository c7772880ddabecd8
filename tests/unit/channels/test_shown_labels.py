"""Labels that templates show and incidents do not have."""

from __future__ import annotations

import pytest

from alertd.channels.config import (
    AlertmanagerConfig,
    ChannelConfig,
    SlackConfig,
    WebhookConfig,
)
from alertd.channels.shown_labels import label_warnings, labels_of_channels
from alertd.channels.templates.labels import shown_labels
from alertd.model import Target
from alertd.rule_checks import RuleSetting
from tests.unit.parts import record_of


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("{{ where }}", set()),
        ("{{ labels.host }} and {{ labels.dc }}", {"host", "dc"}),
        ("{{ incident.labels.host | upper }}", {"host"}),
        ("{{ labels['odd name'] }}", {"odd name"}),
        ("{% for i in incidents %}{{ i.labels.host }}{% endfor %}", {"host"}),
        ("{{ labels.host | default('?') }}", {"host"}),  # it is empty, not missing
        ("{{ labels.host | default('?', true) }}", set()),
        ("{{ labels.host | upper | default('?', even_if_empty=true) }}", set()),
        ("{{ labels.host or 'somewhere' }}", set()),
        ("{% if labels.host %}on {{ labels.host }}{% endif %}", set()),
        ("{% if state %}{% elif labels.host %}on {{ labels.host }}{% endif %}", set()),
        ("{{ 'on ' ~ labels.host if labels.host else '' }}", set()),
        ("{{ labels.host }}{% if labels.dc %}{{ labels.dc }}{% endif %}", {"host"}),
        ("{{ labels.host", set()),
        pytest.param("{{ labels.a ~ " + "(" * 5000 + "1" + ")" * 5000 + "}}", set(), id="(((1)))"),
        pytest.param("{{ labels.a" + " + 1" * 5000 + "}}", set(), id="1+1+1"),
        ("{{ annotations.host }} {{ group.host }} {{ labels | length }}", set()),
    ],
)
def test_a_label_is_shown_unless_the_template_provides_for_its_absence(
    source: str, shown: set[str]
) -> None:
    assert shown_labels(source) == shown


def test_of_a_channel_the_labels_of_all_its_templates_count() -> None:
    channels: dict[str, ChannelConfig] = {
        "chat": SlackConfig(url="x", title="{{ incident.labels.a }}", body="{{ group.c }}"),
        "both": SlackConfig(
            url="x", title="{{ incident.labels.a }}", body="{{ incident.labels.b }}"
        ),
        "hook": WebhookConfig(url="x", body="{{ incidents[0].labels.b | tojson }}"),
        "plain": WebhookConfig(url="x"),
        "peer": AlertmanagerConfig(url="x"),
    }
    assert labels_of_channels(channels) == {"chat": {"a"}, "both": {"a", "b"}, "hook": {"b"}}


def test_a_rule_is_warned_of_labels_that_it_does_not_group_by() -> None:
    rule = record_of(
        group_by=("service",),
        annotations={
            "a/b": "{{ labels.host }} {{ labels.service }}",
            "good": "{{ labels.service }}",
        },
        notifications=(Target("plain"), Target("chat"), Target("WEBHOOK", "http://x.example/")),
        escalate_after_secs=60,
        escalate_to=(Target("boss"),),
    )
    shown = {"chat": frozenset({"service", "dc", "host"}), "boss": frozenset({"dc"})}
    setting = RuleSetting(labels_of_channels=shown)
    found = {warning.path: warning.message for warning in label_warnings(rule.spec, setting)}
    assert found.keys() == {"/annotations/a~1b", "/notifications/1", "/escalateTo/0"}
    assert found["/annotations/a~1b"].startswith("shows labels.host; incidents have the labels in ")
    assert found["/notifications/1"].startswith(
        "the templates of 'chat' show labels.dc, labels.host;"
    )
    assert label_warnings(record_of(group_by=("service", "dc", "host")).spec, setting) == []

"""A channel's own words: their variables, their escaping, and what is told when they fail."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from alertd.channels.check import channel_problems
from alertd.channels.config import ChannelConfig, EmailConfig, SlackConfig, WebhookConfig
from alertd.channels.email import compose
from alertd.channels.factory import ChannelFactory
from alertd.channels.message import MessageKind
from alertd.channels.protocol import Delivered
from alertd.channels.sample import sample_messages
from alertd.channels.slack import MRKDWN, payload
from alertd.channels.templates.meter import TemplateFailed
from alertd.channels.webhook import JSON_TEXT
from alertd.channels.words import PLAIN_TEXT, Form, Words, template_fault
from alertd.model import Target
from tests.receivers import http_receiver, smtp_receiver
from tests.unit.channels.messages import incident, message, resolved

HOSTILE = '<!channel> & "quoted" \\ \n'


def body(source: str, form: Form = PLAIN_TEXT, **changes: Any) -> str | None:
    return Words(None, source, form).of(message(incident(**changes))).body


def test_every_documented_variable_has_a_value() -> None:
    one = (
        "{{ incident.rule }}|{{ incident.severity }}|{{ incident.state }}|{{ incident.status }}|"
        "{{ incident.where }}|{{ incident.labels.service }}|{{ incident.value }}|"
        "{{ incident.threshold }}|{{ incident.operator }}|{{ incident.against }}|"
        "{{ incident.since }}|{{ incident.late }}|{{ incident.late_secs }}|"
        "{{ incident.found_by }}"
    )
    assert body(one, late_by=90.0) == (
        "High Error Count|critical|firing|FIRING|service=payment|payment|137|100|>|"
        "137, alert if > 100|2025-06-30 15:00:00 UTC|1 min 30 s|90|stream"
    )
    ended = "{{ incident.until }}|{{ incident.ending }}|{{ incident.lasted }}|{{ incident.reason }}"
    assert Words(None, ended).of(message(resolved())).body == (
        "2025-06-30 15:07:00 UTC|recovered|7 min|recovered"
    )
    whole = "{{ kind }}|{{ title }}|{{ firing }}|{{ ended }}|{{ incidents | length }}"
    both = message(incident(id="a"), resolved(), kind=MessageKind.REPEAT)
    assert Words(None, whole).of(both).body == (
        "repeat|[still] 1 firing, 1 ended: High Error Count|1|1|2"
    )


def test_a_label_that_an_incident_does_not_have_is_empty() -> None:
    assert body("[{{ incident.labels.nothing }}]{% if incident.labels.host %}x{% endif %}") == "[]"


def test_what_stands_in_a_value_is_never_markup() -> None:
    labels = {"host": HOSTILE}
    slack = body("*{{ incident.labels.host }}*", MRKDWN, group_labels=labels)
    assert slack == '*&lt;!channel&gt; &amp; "quoted" \\ \n*'
    source = """{"a": "{{ incident.labels.host }}", "b": {{ incident.labels | tojson }},
    "c": {{ incident.value }}}"""
    made = body(source, JSON_TEXT, group_labels=labels, value=None)
    assert made is not None
    assert json.loads(made) == {"a": HOSTILE, "b": labels, "c": None}


def test_a_title_is_one_line() -> None:
    words = Words("{{ incident.rule }}\n\n is {{ incident.state }}", None)
    assert words.of(message(incident(rule_name="a\r\nBcc: b"))).title == "a Bcc: b is firing"


def test_what_fails_is_told_in_the_default_words_and_said() -> None:
    source = "{{ 1 / (incidents | length - 2) }}"
    words = Words(source, source)
    assert words.of(message()).body == "-1"
    failed = words.of(message(incident(id="a"), incident(id="b")))
    assert (failed.title, failed.body) == (None, None)
    assert failed.fault == "the template of title failed: line 1: division by zero"
    assert template_fault("title", "{{ 1 / (incidents | length - 30) }}") is None


def test_a_template_is_tried_on_messages_of_every_kind() -> None:
    assert template_fault("body", "{{ incident.runbook_url | upper }}") is not None
    assert template_fault("body", "{{ incident.value * 2 }}") is not None
    assert template_fault("body", "{{ incident.value | default(0) * 2 }}") is None
    assert "no JSON" not in str(template_fault("body", '{"a": {{ incident.value }}}', JSON_TEXT))
    fault = template_fault("body", '{"a": {{ incident.rule }}}', JSON_TEXT)
    assert fault is not None
    assert "does not make JSON" in fault
    assert any(view.value is None for sent in sample_messages() for view in sent.incidents)


def test_the_templates_in_the_docs_can_be_used() -> None:
    text = (Path(__file__).parents[3] / "docs/templates.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    tried = 0
    for table in (table for b in blocks for table in tomllib.loads(b).get("channels", {}).values()):
        form = {"slack": MRKDWN, "webhook": JSON_TEXT}.get(table.get("type"), PLAIN_TEXT)
        for key in table.keys() & {"title", "body"}:
            assert template_fault(key, table[key], form) is None, table[key]
            tried += 1
    assert tried == 3


@pytest.mark.parametrize(
    "config",
    [
        WebhookConfig(url="http://a.example/", body="{{ nobody }}"),
        WebhookConfig(url="http://a.example/", body="no JSON"),
        WebhookConfig(url="http://a.example/", body="{}", format="alertmanager"),
        SlackConfig(url="http://a.example/", body="{{ nobody }}"),
        EmailConfig(host="h", sender="a@b.example", to=("a@b.example",), body="{{ nobody }}"),
    ],
)
def test_a_bad_template_is_refused_when_configured(config: Any) -> None:
    assert [problem.path for problem in channel_problems(config, {})] == ["/body"]


def test_a_bad_title_is_refused_too() -> None:
    config = SlackConfig(url="http://a.example/", title="{{ incident.valeu }}")
    [problem] = channel_problems(config, {})
    assert problem.path == "/title"
    assert "line 1: there is no incident.valeu; did you mean 'value'?" in problem.message
    with pytest.raises(TemplateFailed):
        Words("{{ nobody }}", None)


def test_slack_shows_the_words_and_keeps_the_colour() -> None:
    words = Words("{{ incident.rule }} is {{ incident.status }}", "*{{ incident.where }}*", MRKDWN)
    shown = payload(message(), words.of(message()))
    assert shown["text"] == "High Error Count is FIRING"
    [attachment] = shown["attachments"]
    assert attachment["color"] == "#d00000"
    [section] = attachment["blocks"]
    assert section["text"]["text"] == "*service=payment*"
    only_title = payload(message(), Words("T", None, MRKDWN).of(message()))
    assert only_title["text"] == "T"
    assert only_title["attachments"] == payload(message())["attachments"]


def test_a_mail_has_the_words_as_subject_and_plain_text() -> None:
    words = Words("{{ incident.rule }}!", "a\n{{ incident.rule }}\x00")
    hostile = message(incident(rule_name="ö\r\nBcc: x@example.org"))
    mail = compose(hostile, "a@example.org", ["b@example.org"], 0, words.of(hostile)).decode()
    head, _, text = mail.partition("\r\n\r\n")
    assert "\r\nBcc" not in head
    assert "Content-Type: text/plain" in head
    assert "html" not in mail
    assert text.startswith("a\r\n=C3=B6")


async def test_each_channel_sends_its_own_words_and_says_when_it_could_not() -> None:
    json_source = '{"text": "{{ title }}", "n": {{ 1 / (firing - 2) }}}'
    with http_receiver() as receiver, smtp_receiver() as mailbox:
        configs: dict[str, ChannelConfig] = {
            "hook": WebhookConfig(
                url=receiver.url("/hook"), body=json_source, content_type="application/x+json"
            ),
            "text": WebhookConfig(
                url=receiver.url("/text"), body="{{ title }}", content_type="text/plain"
            ),
            "chat": SlackConfig(url=receiver.url("/chat"), title="T {{ firing }}"),
            "mail": EmailConfig(
                host="127.0.0.1", port=mailbox.port, tls="none",  # type: ignore[arg-type]
                sender="a@example.org", to=("b@example.org",), title="T {{ ended }}",
            ),
        }  # fmt: skip
        factory = ChannelFactory(configs, environ={})
        for name in configs:
            assert await factory.for_target(Target(name)).send(message()) == Delivered()
        hook, text, chat = receiver.received
        title = "FIRING: High Error Count (service=payment)"
        assert json.loads(hook.body) == {"text": title, "n": -1}
        assert hook.headers["content-type"] == "application/x+json"
        assert (text.body.decode(), text.headers["content-type"]) == (title, "text/plain")
        assert json.loads(chat.body)["text"] == "T 1"
        assert mailbox.mails[0].message["Subject"] == "T 0"
        two = message(incident(id="a"), incident(id="b"))
        outcome = await factory.for_target(Target("hook")).send(two)
        assert isinstance(outcome, Delivered)
        assert outcome.fault == "the template of body failed: line 1: division by zero"
        assert json.loads(receiver.received[-1].body)["kind"] == "firing"
        assert receiver.received[-1].headers["content-type"] == "application/json"
        await factory.aclose()

"""Annotations: what a rule's author says of its incidents, told by every channel."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from typing import Any

import msgspec
import pytest

from alertd.channels import alert, email, slack, wording
from alertd.channels import annotation_templates as of_rules
from alertd.channels.annotation_templates import annotation_fault
from alertd.channels.annotations import annotate, check_rule
from alertd.channels.message import IncidentView, Message
from alertd.channels.sample import sample_incident, sample_message
from alertd.channels.templates import template
from alertd.channels.templates.meter import Meter
from alertd.channels.words import Words
from alertd.errors import InvalidInput
from alertd.limits import MAX_LABELS
from alertd.notify.announce import Announcer
from alertd.rule_checks import MAX_ANNOTATION_CHARS, RuleSetting
from tests.unit.delivery.desk import begin, rule

IMPACT = (
    "impact",
    "{{ labels.service | upper }} refuses {{ value }}{% if late %}, {{ late }} late{% endif %}",
)
LABELS = tuple(f"l{number}" for number in range(MAX_LABELS))
NESTED = (
    "{% for a in labels %}{% for b in labels %}{% for c in labels %}{{ '' }}"
    "{% endfor %}{% endfor %}{% endfor %}"
)


def told(*templates: tuple[str, str], **changes: Any) -> Message:
    """Return a message about one incident of a rule with these annotations."""
    return sample_message(incidents=(annotate(sample_incident(**changes), templates),))


def test_an_annotation_knows_its_incident() -> None:
    [view] = told(IMPACT).incidents
    assert view.annotations == {"impact": "PAYMENT refuses 137"}
    [late] = told(IMPACT, late_by=90.0, group_labels={"service": "search"}).incidents
    assert late.annotations == {"impact": "SEARCH refuses 137, 1 min 30 s late"}
    [unlabelled] = told(("where", "[{{ labels.service }}]"), group_labels={}).incidents
    assert unlabelled.annotations == {"where": "[]"}


def test_one_that_fails_says_so_and_stops_nobody() -> None:
    [view] = told(("a", "{{ labels.service | int / value }}"), ("b", "still there")).incidents
    assert view.annotations["a"].startswith("(the template failed: line 1: ")
    assert view.annotations["b"] == "still there"


def test_one_that_does_much_is_given_up_before_anybody_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spent = 0

    class Counted(Meter):
        def spend(self, steps: int) -> None:
            nonlocal spent
            spent += steps
            super().spend(steps)

    monkeypatch.setattr(template, "Meter", Counted)
    [view] = told(("a", NESTED), group_labels=dict.fromkeys(map(str, range(20)), "v")).incidents
    assert "loop over less" in view.annotations["a"]
    assert spent < 1.1 * of_rules.MAX_STEPS < 5_000


def test_thousands_of_rules_have_theirs_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    class Cheap:
        def __init__(self, source: str, **options: object) -> None:
            compiled.append(source)

        def render(self, values: object) -> str:
            return ""

    sources = [("a", str(number)) for number in range(5_000)]
    monkeypatch.setattr(of_rules, "Template", Cheap)
    of_rules._template.cache_clear()
    try:
        for _ in range(2):
            for each in sources:
                told(each)
    finally:
        of_rules._template.cache_clear()
    assert len(compiled) == len(sources)


def test_an_alertmanager_gets_them_and_they_win_over_the_words_of_alertd() -> None:
    view = annotate(sample_incident(description="d"), [IMPACT, ("summary", "{{ rule }}")])
    assert alert.alert_annotations(view) == {
        "description": "d",
        "impact": "PAYMENT refuses 137",
        "runbook_url": "https://example.org/runbooks/errors",
        "summary": "High Error Count",
    }


def test_people_read_them_below_the_description_and_they_are_no_markup() -> None:
    message = told(("impact", "<b>{{ labels.service }}</b> & more"))
    assert "impact: <b>payment</b> & more" in wording.plain_text(message).splitlines()
    blocks = msgspec.json.encode(slack.payload(message)).decode()
    assert "impact: &lt;b&gt;payment&lt;/b&gt; &amp; more" in blocks
    mail = message_from_bytes(email.compose(message, "a@b.org", ["c@d.org"], 0.0), policy=default)
    plain, html = mail.iter_parts()
    assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert "<p>impact: &lt;b&gt;payment&lt;/b&gt; &amp; more</p>" in html.get_content()


def test_templates_of_channels_find_them() -> None:
    words = Words(None, "{{ incident.annotations.impact }}/{{ incident.annotations.none }}")
    assert words.of(told(IMPACT)).body == "PAYMENT refuses 137/"


def test_a_webhook_has_them_only_where_there_are_any() -> None:
    assert b"annotations" not in msgspec.json.encode(told())
    decoded = msgspec.json.decode(msgspec.json.encode(told(IMPACT).incidents[0]), type=IncidentView)
    assert decoded.annotations == {"impact": "PAYMENT refuses 137"}


def test_a_transition_is_told_with_them() -> None:
    announcement = Announcer("http://alertd.example").announce(
        begin(of=rule(annotations=dict([IMPACT])))
    )
    assert announcement is not None
    [notification] = announcement.notifications
    view = msgspec.json.decode(notification.view, type=IncidentView)
    assert view.annotations == {"impact": "PAYMENT refuses 137"}


@pytest.mark.parametrize(
    ("annotations", "path", "reason"),
    [
        ({"a": "{{ lables.x }}"}, "/annotations/a", "lables"),
        ({"a": "{{ value"}, "/annotations/a", "line 1"),
        ({"a": "x" * (MAX_ANNOTATION_CHARS + 1)}, "/annotations/a", "longer than 1000 characters"),
        ({"a": "x" * 970 + "{{ history_url }}"}, "/annotations/a", "more than 1000 characters"),
        ({"a": NESTED}, "/annotations/a", "loop over less, or nest less"),
        ({"a": "{{ value + 1 }}"}, "/annotations/a", "| default(0)"),
        ({"a b": "x"}, "/annotations/a b", "letters, digits and _"),
        ({"1": "x"}, "/annotations/1", "no digit first"),
        ({f"a{n}": "x" for n in range(11)}, "/annotations", "more than 10"),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_its_place(
    annotations: dict[str, str], path: str, reason: str
) -> None:
    spec = rule(group_by=LABELS, annotations=annotations).spec
    with pytest.raises(InvalidInput) as caught:
        check_rule(spec, RuleSetting(frozenset({"ops"})))
    assert [problem.path for problem in caught.value.problems] == [path]
    assert reason in caught.value.problems[0].message


def test_what_works_is_not_refused() -> None:
    assert annotation_fault(IMPACT[1]) is None
    assert annotation_fault("{{ value | default(0) }} {{ annotations.other }}") is None
    every = "{% for name, text in labels | items %}{{ name }}={{ text | upper }} {% endfor %}"
    assert annotation_fault(every, LABELS) is None
    long = "{% for name in labels %}" + "x" * 300 + "{% endfor %}"
    assert annotation_fault(long, LABELS[:3]) is None
    assert "1000 characters" in (annotation_fault(long, LABELS) or "")

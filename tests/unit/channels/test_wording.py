from __future__ import annotations

import email
import email.policy

import msgspec
import pytest

from alertd.channels import wording
from alertd.channels.alert import alert_annotations
from alertd.channels.email import compose
from alertd.channels.message import MessageKind
from alertd.channels.slack import payload
from alertd.channels.words import Words
from alertd.model import EndReason
from tests.unit.channels.messages import incident, message, resolved


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (59, "59 s"),
        (125, "2 min 5 s"),
        (300, "5 min"),
        (3600, "1 h"),
        (90_061, "1 d 1 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert wording.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(137.0, "137"), (0.1, "0.1"), (1_234_567.0, "1234567"), (-2.5, "-2.5"), (1e20, "1e+20")],
)
def test_numbers_are_written_as_people_do(number: float, text: str) -> None:
    assert wording.number_text(number) == text


def test_missing_data_is_never_worded_as_recovery() -> None:
    view = resolved("no_data")
    words = wording.headline(view) + str(dict(wording.facts(view)))
    assert "RESOLVED" not in words
    assert "recovery is not known" in words


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("recovered", "over after 7 min, at 3 then"),
        ("no_data", "ended without data after 7 min, recovery is not known"),
        ("rule_changed", "ended after 7 min because the rule was changed, recovery is not known"),
        (
            "rule_deleted",
            "ended after 7 min because the rule was deleted or disabled, recovery is not known",
        ),
        ("expired", "forgotten without events after 7 min, recovery is not known"),
        ("another", "ended after 7 min, recovery is not known"),
    ],
)
def test_only_a_known_recovery_is_called_over(reason: str, sentence: str) -> None:
    assert wording.closing(reason, 420.0, 3.0) == sentence
    is_over = wording.closing(reason, 420.0, None) == "over after 7 min"
    assert is_over is (reason == "recovered")
    until = dict(wording.facts(resolved(reason)))["Until"]
    assert ("recovery is not known" in until) is not is_over


def test_every_reason_of_an_end_has_words_of_its_own() -> None:
    assert len({wording.closing(reason, 1.0, None) for reason in (*EndReason, "")}) == 6


def test_a_recovery_says_until_when() -> None:
    assert dict(wording.facts(resolved()))["Until"] == "2025-06-30 15:07:00 UTC, recovered"


def test_how_late_the_data_came_is_told() -> None:
    assert dict(wording.facts(incident(late_by=125)))["Late"] == "the data came 2 min 5 s late"
    assert "Late" not in dict(wording.facts(incident()))


def test_where_is_told_only_of_a_group() -> None:
    assert dict(wording.facts(incident()))["Where"] == "service=payment"
    assert "Where" not in dict(wording.facts(incident(group_labels={})))


def test_no_value_is_told_as_no_data() -> None:
    assert wording.value_text(incident(value=None)) == "no data, alert if > 100"


def test_the_subject_counts_what_one_message_holds() -> None:
    several = message(incident(id="a", rule_name="A"), incident(id="b", rule_name="B"), resolved())
    assert wording.subject(several) == "2 firing, 1 ended: A and 2 more"
    assert wording.subject(message(*several.incidents[:2])) == "2 firing: A and 1 more"
    assert wording.subject(message(resolved(), resolved(id="b"))) == "2 ended: High Error Count"
    assert wording.subject(message(kind=MessageKind.REPEAT)).startswith("[still] FIRING")


def test_the_subject_names_the_rule_of_the_worst_and_not_the_first_of_the_alphabet() -> None:
    worst = incident(id="w", rule_name="Payments down")
    told = message(worst, incident(id="b", rule_name="Disk", severity="info"))
    assert wording.subject(told) == "2 firing: Payments down and 1 more"


def test_what_began_and_ended_since_stands_behind_all_that_fires_and_hides_none_of_it() -> None:
    brief = [incident(id=f"{n}", rule_name="Brief") for n in range(wording.MAX_INCIDENTS_SHOWN)]
    ends = [resolved(id=view.id, rule_name="Brief") for view in brief]
    told = message(*brief, incident(id="on", rule_name="Lasting"), *ends)
    assert [view.id for view in wording.latest(told)][:2] == ["on", "0"]
    assert wording.plain_text(told).startswith("FIRING: Lasting")
    assert wording.subject(told) == "1 firing, 10 ended: Lasting and 1 more"


def test_who_is_escalated_to_is_told_so_and_nobody_else() -> None:
    escalated = msgspec.structs.replace(incident(description="d"), escalated_after=900)
    assert wording.remarks(escalated) == ["Nobody has acknowledged it in 15 min.", "d"]
    assert wording.remarks(incident(description="d")) == ["d"]
    assert b'"escalatedAfter":900' in msgspec.json.encode(message(escalated))
    assert b"escalated" not in msgspec.json.encode(message())
    words = Words(
        "{% if incident.escalated_after %}{{ incident.escalated_after }}{% endif %}!", None
    )
    assert words.of(message(escalated)).title == "15 min!"
    assert words.of(message()).title == "!"


def test_a_rules_description_is_told_everywhere_and_costs_nothing_where_there_is_none() -> None:
    text = "Payments fail <now>.\nAsk the bank."
    told = message(incident(description=text))
    assert "Payments fail <now>. Ask the bank.\n\nSeverity" in wording.plain_text(told)
    section = payload(told)["attachments"][0]["blocks"][1]["text"]["text"]
    assert section.endswith("\nPayments fail &lt;now&gt;.\nAsk the bank.")
    mail = email.message_from_bytes(
        compose(told, "a@example.org", ["b@example.org"], 0), policy=email.policy.default
    )
    html = mail.get_body(("html",))
    assert html is not None
    assert "<p>Payments fail &lt;now&gt;." in html.get_content()
    assert alert_annotations(told.incidents[0])["description"] == text
    assert b'"description":' in msgspec.json.encode(told)
    assert b"description" not in msgspec.json.encode(message())


def test_only_web_addresses_become_links() -> None:
    view = incident(runbook_url="javascript:alert(1)")
    assert [label for label, _ in wording.links(view)] == ["History"]

"""What a receiver gets of several notifications."""

from __future__ import annotations

import msgspec
import pytest

from alertd.channels.message import IncidentView, Message, MessageKind
from alertd.model import Target
from alertd.notify.compose import compose, views_in
from alertd.outbound import Outgoing
from tests.unit.channels.messages import incident


def composed(*parts: tuple[str, IncidentView]) -> Message:
    outgoing = Outgoing(
        id="m",
        target=Target("ops"),
        group_key="{}",
        parts=tuple((kind, msgspec.json.encode(view)) for kind, view in parts),
        begun_us=0,
        attempts=0,
        next_attempt_us=0,
    )
    return compose(
        outgoing,
        views_in(outgoing),
        sent_at="2025-06-30T15:00:00.000000Z",
        list_url="http://a/list",
    )


def test_what_fires_comes_first_and_the_worst_before_the_others() -> None:
    message = composed(
        ("resolved", incident(id="a", severity="critical", state="resolved")),
        ("firing", incident(id="b", severity="info")),
        ("firing", incident(id="c", severity="critical")),
        ("firing", incident(id="d", severity="warning")),
        ("resolved", incident(id="e", severity="info", state="resolved")),
        ("firing", incident(id="f", severity="critical")),
    )
    assert [view.id for view in message.incidents] == list("cfdbae")
    assert message.list_url == "http://a/list"


def test_the_beginning_of_an_incident_stands_before_its_end() -> None:
    message = composed(("firing", incident()), ("resolved", incident(state="resolved")))
    assert [view.state for view in message.incidents] == ["firing", "resolved"]
    assert message.kind is MessageKind.FIRING


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        (["resolved"], "resolved"),
        (["repeat", "resolved"], "repeat"),
        (["repeat", "firing"], "firing"),
        (["flapping", "repeat"], "flapping"),
    ],
)
def test_a_message_is_called_by_the_most_urgent_kind_in_it(kinds: list[str], kind: str) -> None:
    assert composed(*((one, incident()) for one in kinds)).kind == kind


def test_a_message_of_nothing_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="no notification"):
        composed()

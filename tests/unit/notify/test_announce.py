"""What one sentence says of an incident, in whichever format it is told."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import structs

from alertd.channels.alert import alert_annotations
from alertd.channels.message import IncidentView
from alertd.model import EndReason, Transition
from alertd.notify.announce import Announcer
from tests.unit.delivery.desk import begin, end
from tests.unit.store.store_samples import record

ANNOUNCER = Announcer("http://alertd.example")


def view_of(transition: Transition) -> IncidentView:
    announcement = ANNOUNCER.announce(transition)
    assert announcement is not None
    return msgspec.json.decode(announcement.notifications[0].view, type=IncidentView)


@pytest.mark.parametrize("reason", EndReason)
def test_no_receiver_reads_over_where_recovery_is_not_known(reason: EndReason) -> None:
    ended = end(begin())
    assert ended.incident is not None
    incident = structs.replace(ended.incident, end_reason=reason)
    view = view_of(structs.replace(ended, incident=incident, value=2.5))
    assert view.state == "resolved"
    assert alert_annotations(view)["summary"] == view.message
    is_over = "; over after " in view.message and view.message.endswith(", at 2.5 then")
    assert is_over is (reason is EndReason.RECOVERED)
    assert view.message.endswith("recovery is not known") is not is_over


def test_the_sentence_on_what_is_on_knows_no_end() -> None:
    assert view_of(begin()).message.endswith(")")
    assert ";" not in view_of(begin()).message


def test_the_sentence_says_which_events_of_the_metric_count_where_no_label_does() -> None:
    some = record(matchers={"service": "payment", "host": "=~web-.*", "zone": "!=b"})
    every = record(matchers={})
    assert " of error_count{host=~web-.*, zone!=b} over " in view_of(begin(of=some)).message
    assert " of error_count over " in view_of(begin(of=every)).message


def test_long_matchers_are_cut_in_the_sentence() -> None:
    long = record(matchers={"host": "=~" + "x" * 400})
    message = view_of(begin(of=long)).message
    assert len(message) < 400
    assert "x…} over " in message

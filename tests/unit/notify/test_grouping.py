"""The decision table of grouping: which message a notification goes into, and why then."""

from __future__ import annotations

import msgspec
import pytest

from alertd.model import US_PER_S, Target
from alertd.notify.grouping import MAX_PARTS, LastMessage, Placement, PlacementReason, place
from alertd.outbound import Notification, Timing

NOW = 1_750_000_000 * US_PER_S
S = US_PER_S
FIRST, WITH, AFTER, BEHIND = PlacementReason

NOTIFICATION = Notification(
    id="n",
    incident_id="i",
    rule_id="r",
    kind="firing",
    target=Target("ops"),
    group_key="{}",
    timing=Timing(wait_us=0, interval_us=10 * S),
    view=b"{}",
    created_us=NOW,
)


def last(
    due_s: float, *, is_open: bool = False, is_pending: bool = False, parts: int = 1
) -> LastMessage:
    due_us = NOW + round(due_s * S)
    return LastMessage(seq=7, due_us=due_us, is_open=is_open, is_pending=is_pending, parts=parts)


TABLE = [
    # the group's last message, wait, reason, due in seconds, joins it, stays open
    (None, 0, FIRST, 0, False, False),
    (None, 3, FIRST, 3, False, True),
    (last(-10), 0, FIRST, 0, False, False),
    (last(-10), 3, FIRST, 3, False, True),
    (last(-9.999999), 0, AFTER, 0.000001, False, True),
    (last(-9.999999), 3, AFTER, 0.000001, False, True),
    (last(-1, is_pending=True), 0, AFTER, 9, False, True),
    (last(-60, is_pending=True), 0, BEHIND, 0, False, True),
    (last(9, is_open=True, is_pending=True), 0, WITH, 9, True, True),
    (last(-60, is_open=True, is_pending=True), 0, WITH, -60, True, False),
    (last(11, is_open=True, is_pending=True), 0, WITH, 10, True, True),
    (last(11, is_open=True, is_pending=True, parts=MAX_PARTS), 0, WITH, 10, False, True),
    (last(14, is_open=True, is_pending=True), 12, WITH, 12, True, True),
    (last(9, is_open=True, is_pending=True, parts=MAX_PARTS - 1), 0, WITH, 9, True, True),
    (last(9, is_open=True, is_pending=True, parts=MAX_PARTS), 0, WITH, 9, False, True),
    (last(0, is_open=True, is_pending=True, parts=MAX_PARTS), 0, WITH, 0, False, False),
]


@pytest.mark.parametrize(("before", "wait_s", "reason", "due_s", "joins", "stays_open"), TABLE)
def test_the_decision_table(
    before: LastMessage | None,
    wait_s: float,
    reason: PlacementReason,
    due_s: float,
    joins: bool,
    stays_open: bool,
) -> None:
    timing = Timing(wait_us=round(wait_s * S), interval_us=10 * S)
    notification = msgspec.structs.replace(NOTIFICATION, timing=timing)
    expected = Placement(reason, NOW + round(due_s * S), joins, stays_open)
    assert place(notification, before) == expected


def test_what_must_stay_apart_leaves_behind_the_message_that_it_would_have_joined() -> None:
    before = last(4, is_open=True, is_pending=True)
    assert place(NOTIFICATION, before, apart=True) == Placement(WITH, NOW + 4 * S, False, True)


def test_without_an_interval_nothing_gathers() -> None:
    prompt = msgspec.structs.replace(NOTIFICATION, timing=Timing(interval_us=0))
    assert place(prompt, last(0)).reason is FIRST

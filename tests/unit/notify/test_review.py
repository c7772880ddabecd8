"""The decision table of what waits: released, repeated, held on, or laid to rest."""

from __future__ import annotations

import pytest
from msgspec import structs

from alertd.model import US_PER_S, Target
from alertd.notify.review import Action, ReviewReason, Verdict, Waiting, escalates, review
from alertd.outbound import DeliveryStatus, Hold, HoldReason

NOW = 1_750_000_000 * US_PER_S
S = US_PER_S
HELD = Waiting(
    seq=1,
    id="n",
    incident_id="i",
    rule_id="r",
    kind="firing",
    target=Target("ops"),
    group_key="{}",
    view=b"{}",
    repeat_us=600 * S,
    after_us=0,
    status=None,
    held_by="silenced",
    held_ref="s",
    rule_name="rule",
    severity="warning",
    group=(),
    ended_us=None,
    acked_us=None,
)
TOLD = structs.replace(HELD, status=DeliveryStatus.SUCCESS, held_by=None, held_ref=None)
UNDER_WAY = structs.replace(TOLD, status=DeliveryStatus.RETRY_PENDING)
GIVEN_UP = structs.replace(TOLD, status=DeliveryStatus.FAILED)
SILENCE = Hold(HoldReason.SILENCED, "s", NOW + 60 * S, "silence s")
FOR_WEEKS = Hold(HoldReason.SILENCED, "s", NOW + 2_000_000 * S, "silence s")
OVER = Hold(HoldReason.INHIBITED, "x", NOW, "incident x")

FLAPS = Hold(HoldReason.FLAPPING, "e", NOW + 600 * S, "it changed its state more than …")
ESCALATES = structs.replace(HELD, held_by="escalates", held_ref="", after_us=900 * S)
SILENCED = structs.replace(ESCALATES, held_by="silenced", held_ref="s")
END = structs.replace(HELD, kind="resolved", ended_us=NOW)
ENDED, ACKED, STILL_HELD, NOT_HELD, NOBODY_REACTED, ON_ITS_WAY, STILL_ON = ReviewReason

TABLE = [
    # what waits, what holds it back now → what is done, why, and when it is looked at again
    # a beginning that is held back
    (HELD, None, Action.RELEASE, NOT_HELD, None),
    (HELD, SILENCE, Action.HOLD, STILL_HELD, 60),
    (HELD, FLAPS, Action.HOLD, STILL_HELD, 600),
    (HELD, OVER, Action.HOLD, STILL_HELD, 1),
    (structs.replace(HELD, ended_us=NOW), None, Action.REST, ENDED, None),
    (structs.replace(HELD, ended_us=NOW), SILENCE, Action.REST, ENDED, None),
    (structs.replace(HELD, acked_us=NOW), None, Action.REST, ACKED, None),
    # an end that is held back
    (END, None, Action.RELEASE, NOT_HELD, None),
    (END, SILENCE, Action.HOLD, STILL_HELD, 60),
    (structs.replace(END, acked_us=1), None, Action.RELEASE, NOT_HELD, None),
    # an escalation whose time has come
    (ESCALATES, None, Action.RELEASE, NOBODY_REACTED, None),
    (ESCALATES, SILENCE, Action.HOLD, STILL_HELD, 60),
    (structs.replace(ESCALATES, acked_us=NOW), None, Action.REST, ACKED, None),
    (structs.replace(ESCALATES, ended_us=NOW), None, Action.REST, ENDED, None),
    # an escalation that was held back with what it follows
    (SILENCED, SILENCE, Action.HOLD, STILL_HELD, 60),
    (SILENCED, None, Action.HOLD, NOT_HELD, 900),
    (structs.replace(SILENCED, acked_us=NOW), None, Action.REST, ACKED, None),
    (structs.replace(SILENCED, ended_us=NOW), None, Action.REST, ENDED, None),
    # a repeat whose time has come
    (TOLD, None, Action.REPEAT, STILL_ON, None),
    (TOLD, SILENCE, Action.HOLD, STILL_HELD, 60),
    (TOLD, FOR_WEEKS, Action.HOLD, STILL_HELD, 600),
    (structs.replace(TOLD, kind="repeat"), None, Action.REPEAT, STILL_ON, None),
    (structs.replace(TOLD, ended_us=NOW), None, Action.REST, ENDED, None),
    (structs.replace(TOLD, acked_us=NOW), None, Action.REST, ACKED, None),
    (UNDER_WAY, None, Action.WAIT, ON_ITS_WAY, 600),
    (structs.replace(UNDER_WAY, acked_us=NOW), None, Action.REST, ACKED, None),
    (GIVEN_UP, None, Action.REPEAT, STILL_ON, None),
]


@pytest.mark.parametrize(("waiting", "hold", "action", "reason", "look_s"), TABLE)
def test_the_decision_table(
    waiting: Waiting, hold: Hold | None, action: Action, reason: ReviewReason, look_s: int | None
) -> None:
    look_us = None if look_s is None else NOW + look_s * S
    held_by = (hold or escalates(900 * S, NOW)) if action is Action.HOLD else None
    assert review(waiting, hold, NOW) == Verdict(action, reason, look_us, held_by)


def test_every_reason_is_in_the_table() -> None:
    assert {reason for *_, reason, _ in TABLE} == set(ReviewReason)

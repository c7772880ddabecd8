"""The decision table of what waits: released, repeated, held on, or laid to rest."""

from __future__ import annotations

import pytest
from msgspec import structs

from alertd.model import US_PER_S, DeliveryStatus, Hold, HoldReason, Target
from alertd.notify.review import Action, Waiting, review

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
OVER = Hold(HoldReason.INHIBITED, "x", NOW, "incident x")

TABLE = [
    (HELD, None, Action.RELEASE, None),
    (HELD, SILENCE, Action.HOLD, 60),
    (HELD, OVER, Action.HOLD, 1),
    (structs.replace(HELD, ended_us=NOW), None, Action.REST, None),
    (structs.replace(HELD, ended_us=NOW), SILENCE, Action.REST, None),
    (structs.replace(HELD, acked_us=NOW), None, Action.REST, None),
    (structs.replace(HELD, kind="resolved", ended_us=NOW), None, Action.RELEASE, None),
    (structs.replace(HELD, kind="resolved", ended_us=NOW), SILENCE, Action.HOLD, 60),
    (structs.replace(HELD, kind="resolved", ended_us=NOW, acked_us=1), None, Action.RELEASE, None),
    (TOLD, None, Action.REPEAT, None),
    (TOLD, SILENCE, Action.HOLD, 60),
    (structs.replace(TOLD, kind="repeat"), None, Action.REPEAT, None),
    (structs.replace(TOLD, ended_us=NOW), None, Action.REST, None),
    (structs.replace(TOLD, acked_us=NOW), None, Action.REST, None),
    (UNDER_WAY, None, Action.WAIT, 600),
    (GIVEN_UP, None, Action.REPEAT, None),
]


@pytest.mark.parametrize(("waiting", "hold", "action", "look_s"), TABLE)
def test_the_decision_table(
    waiting: Waiting, hold: Hold | None, action: Action, look_s: int | None
) -> None:
    verdict = review(waiting, hold, NOW)
    assert verdict.action is action
    assert verdict.look_us == (None if look_s is None else NOW + look_s * S)
    assert verdict.reason

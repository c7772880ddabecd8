"""What becomes of a notification that waits: one that is held back, or whose repeat is due.

Owns the decision, a function of what is known of it, of what holds it back now, and of ``now``.
Leaves the rows to ``store/waiting.py`` and the clock to ``delivery/reminders.py``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from alertd.channels.wording import duration_text
from alertd.model import US_PER_S, Labels, Target
from alertd.outbound import DeliveryStatus, Hold, HoldReason

RESOLVED: Final = "resolved"
REPEAT: Final = "repeat"


class Waiting(Struct, frozen=True, kw_only=True):
    """A notification whose time to be looked at has come, with its incident as it is."""

    seq: int
    id: str
    incident_id: str
    rule_id: str
    kind: str
    target: Target
    group_key: str
    view: bytes
    repeat_us: int
    after_us: int
    """How long others have to acknowledge the incident before it is told; 0: it is told at once."""
    status: DeliveryStatus | None
    """Of the message that tells it; None while it is held back."""
    held_by: str | None
    held_ref: str | None
    rule_name: str
    severity: str
    group: Labels
    ended_us: int | None
    acked_us: int | None


class Action(StrEnum):
    """What to do with it."""

    RELEASE = "release"
    """Tell it now."""
    REPEAT = "repeat"
    """Tell it again."""
    HOLD = "hold"
    """Look at it again when what holds it back may be over."""
    WAIT = "wait"
    """Look at it again later: it has not been told yet."""
    REST = "rest"
    """Never look at it again."""


class ReviewReason(StrEnum):
    """Why it is done."""

    ENDED = "it ended before it could be told"
    ACKNOWLEDGED = "it was acknowledged"
    HELD = "it is held back"
    NOT_HELD = "nothing holds it back any more"
    NOBODY_REACTED = "nobody has acknowledged it"
    UNDER_WAY = "it is not delivered yet"
    STILL_ON = "it is still on and nobody has acknowledged it"


class Verdict(Struct, frozen=True):
    """The decision, and why."""

    action: Action
    reason: ReviewReason
    look_us: int | None = None
    hold: Hold | None = None


def review(waiting: Waiting, hold: Hold | None, now_us: int) -> Verdict:
    """Return what to do with ``waiting``; ``hold`` is what holds its incident back now, if any."""
    if waiting.kind != RESOLVED:
        # Of an end nobody has to know only if nobody was told of the beginning.
        if waiting.ended_us is not None:
            return Verdict(Action.REST, ReviewReason.ENDED)
        if waiting.acked_us is not None:
            return Verdict(Action.REST, ReviewReason.ACKNOWLEDGED)
    if hold is not None:
        look_us = hold.until_us
        if waiting.status is not None:
            # What holds a repeat back may be over early, and nobody has repeats looked at then.
            look_us = min(look_us, now_us + waiting.repeat_us)
        return Verdict(Action.HOLD, ReviewReason.HELD, max(look_us, now_us + US_PER_S), hold)
    if waiting.status is None:
        if waiting.held_by == HoldReason.ESCALATES.value:
            return Verdict(Action.RELEASE, ReviewReason.NOBODY_REACTED)
        if waiting.after_us:
            # Only now can those be told who have to react first.
            hold = escalates(waiting.after_us, now_us)
            return Verdict(Action.HOLD, ReviewReason.NOT_HELD, hold.until_us, hold)
        return Verdict(Action.RELEASE, ReviewReason.NOT_HELD)
    if waiting.status is DeliveryStatus.RETRY_PENDING:
        return Verdict(Action.WAIT, ReviewReason.UNDER_WAY, now_us + waiting.repeat_us)
    return Verdict(Action.REPEAT, ReviewReason.STILL_ON)


def escalates(after_us: int, now_us: int) -> Hold:
    """Return what holds a beginning back from someone who is told only if nobody reacts."""
    detail = f"it is told in {duration_text(after_us / US_PER_S)} if nobody acknowledges it"
    return Hold(HoldReason.ESCALATES, "", now_us + after_us, detail)

"""Which message a notification travels in, and when that leaves.

Owns grouping on the leading edge: the first notification of a quiet group leaves at once, with
all that the same commit brought; what follows gathers for an interval into one message. So a
single alert is not delayed at all, and a storm is a handful of messages. A group is one receiver
and the values of ``notify.group_by``.

While a message fails, what comes gathers behind it: a receiver that was down for an hour is told
in few messages when it is back, not in as many as there were alerts.

Invariants: a message whose sending may have begun takes nothing more in, so that its idempotency
key stands for one content; it has at most ``MAX_PARTS`` notifications.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from alertd.outbound import Notification

MAX_PARTS: Final = 1000
"""Notifications in one message; the next one takes the rest."""


class PlacementReason(StrEnum):
    """Why a notification leaves when it does."""

    FIRST_OF_GROUP = "first of its group"
    """The group was quiet."""
    WITH_OTHERS = "with others"
    """A message of the group has not left yet."""
    AFTER_INTERVAL = "after the group's interval"
    """The group's last message is too recent for another."""
    BEHIND_ANOTHER = "behind a message that is not delivered yet"


class LastMessage(Struct, frozen=True, kw_only=True):
    """The newest message of a group."""

    seq: int
    due_us: int
    """When it was, or is, to be sent first."""
    is_open: bool
    """Whether its sending has certainly not begun."""
    is_pending: bool
    """Whether it is still to be delivered."""
    parts: int


class Placement(Struct, frozen=True):
    """The decision: into the group's last message, or into a new one."""

    reason: PlacementReason
    due_us: int
    """When the message is to leave; one that is joined may have been due later."""
    joins: bool
    stays_open: bool
    """Whether more may join once the present commit is over; only a new message's is asked."""


def place(
    notification: Notification, last: LastMessage | None, *, apart: bool = False
) -> Placement:
    """Return where ``notification`` goes; it came at its ``created_us``.

    ``apart`` keeps it out of the last message, behind which it then leaves: that one tells of
    the same incident, and the two are not to be collapsed.
    """
    now_us, timing = notification.created_us, notification.timing
    if last is not None and last.is_open:
        joins = last.parts < MAX_PARTS and not apart
        # The last one may gather for an interval that is configured no longer.
        due_us = min(last.due_us, now_us + max(timing.wait_us, timing.interval_us))
        return _placed(PlacementReason.WITH_OTHERS, due_us, now_us, joins=joins)
    if last is not None:
        free_us = last.due_us + timing.interval_us
        if now_us < free_us:
            return _placed(PlacementReason.AFTER_INTERVAL, free_us, now_us)
        if last.is_pending:
            return Placement(PlacementReason.BEHIND_ANOTHER, now_us, False, stays_open=True)
    return _placed(PlacementReason.FIRST_OF_GROUP, now_us + timing.wait_us, now_us)


def _placed(reason: PlacementReason, due_us: int, now_us: int, *, joins: bool = False) -> Placement:
    return Placement(reason, due_us, joins, stays_open=due_us > now_us)

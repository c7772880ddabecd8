"""The nouns of telling people: notifications, the messages that carry them, what became of those.

Owns what the outbox holds, and what the parts that decide, store and send tell each other about
it. Everything here is plain immutable data; times and durations are ``int`` microseconds. Leaves
to ``model.py`` what happened.
"""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Final

from msgspec import Struct

from alertd.model import NAMESPACE, US_PER_S, IncidentSeries, Target, Transition

WHOEVER_KNOWS: Final = Target("")
"""In the place of the target: each that heard of the incident and is not named any more."""


class DeliveryStatus(StrEnum):
    """How far a message has come; the worst first."""

    FAILED = "FAILED"
    RETRY_PENDING = "RETRY_PENDING"
    SUCCESS = "SUCCESS"


class Told(StrEnum):
    """Whether anybody knows of an incident, by the best of what was to tell of it."""

    DELIVERED = "delivered"
    """Somebody was told."""
    PENDING = "pending"
    """Nobody yet: it is on its way."""
    FAILED = "failed"
    """Nobody: whatever was to tell of it was given up."""
    HELD_BACK = "held_back"
    """Nobody: whatever was to tell of it is or was held back, by a silence perhaps."""
    NOBODY = "nobody"
    """Nobody: neither its rule nor a route named anybody."""


class Timing(Struct, frozen=True):
    """When notifications of a group may leave; see ``notify/grouping.py``."""

    wait_us: int = 0
    """How long the first of a quiet group waits for others."""
    interval_us: int = 10 * US_PER_S
    """How long the next message gathers after one was due."""
    collapse: bool = True
    """Whether an end may travel in the same message as its beginning."""


class HoldReason(StrEnum):
    """Why a notification is held back."""

    INHIBITED = "inhibited"
    SILENCED = "silenced"
    MUTED = "muted"
    FLAPPING = "flapping"
    """Its series changes state so often that it was told so, once."""
    ESCALATES = "escalates"
    """It is told only if nobody acknowledges the incident in time."""


class FlappingEpisode(Struct, frozen=True, kw_only=True):
    """A time in which a series changes its state too often; see ``notify/flapping.py``."""

    id: str
    """UUIDv5 of the change that was one too many."""
    series: IncidentSeries
    since_us: int
    """Wall time."""
    changes: int
    """Of state, those that made it flap included."""
    last_us: int
    """Event time of the newest of them: up to here they are not counted a second time."""
    stable_us: int
    """Wall time at which it counts as stable if it changes no more."""


class Hold(Struct, frozen=True):
    """Something that holds a notification back."""

    reason: HoldReason
    ref: str
    """What holds it: the id of a silence, of an incident or of an episode, or a mute's name."""
    until_us: int
    """When to ask again."""
    detail: str
    """For a person, on the incident's timeline."""


class Notification(Struct, frozen=True, kw_only=True, gc=False):
    """What one target is to be told of one incident, once."""

    id: str
    """UUIDv5 of incident, kind and target: a replay makes the same row, which is then ignored."""
    incident_id: str
    rule_id: str
    kind: str
    """A ``MessageKind`` value."""
    target: Target
    group_key: str
    """With the target: what may share a message. A JSON object of the values of ``group_by``."""
    timing: Timing = Timing()
    view: bytes
    """The ``IncidentView`` as JSON, as it was when the transition was recorded."""
    created_us: int
    repeat_us: int = 0
    """How long after it the same is told again while it is still true; 0 for never."""
    via: str = ""
    """What names its target, if not the rule: a route, or a channel that escalates."""
    hold: Hold | None = None
    """What holds it back, if anything does."""
    after_us: int = 0
    """How long others have to acknowledge the incident before it is told; 0: it is told at once."""


class Earlier(Struct, frozen=True):
    """A message that told of all that another one tells of."""

    receipt: str
    """What its receiver calls it."""
    tells_the_same: bool
    """Whether it told of nothing else."""


class Outgoing(Struct, frozen=True, kw_only=True):
    """One row of the outbox: a message for one target, to be attempted now."""

    id: str
    """The same on every attempt, and of the same content: the idempotency key."""
    target: Target
    group_key: str
    parts: tuple[tuple[str, bytes], ...]
    """Kind and view of each notification in it, in the order in which they were recorded."""
    begun_us: int
    """When it was due first, or requeued: its age counts from here."""
    attempts: int
    next_attempt_us: int
    earlier: Earlier | None = None
    """The message that the receiver may show it with, if it is about nothing else."""


class Settlement(Struct, frozen=True, kw_only=True):
    """What became of one attempt to deliver a message: what dispatch tells the outbox."""

    id: str
    """The message's id."""
    status: DeliveryStatus
    attempts: int
    """How many attempts there have been, this one included."""
    next_attempt_us: int
    """When to try again; equal to ``at_us`` where ``status`` is not RETRY_PENDING."""
    last_error: str | None
    """Why it did not work, without endpoint or secret; None after a success."""
    at_us: int
    """When the attempt ended."""
    receipt: str = ""
    """What the receiver calls the message; empty if it does not say."""
    note: str = ""
    """What is to be known of a success, for the timeline."""
    may_have_arrived: bool = False
    """Whether the receiver may have taken what is to be tried again."""
    must_wait: bool = False
    """Whether the receiver said when to try again, so that no success brings it forward."""
    rest_until_us: int = 0
    """Until when the receiver asked to be left alone, whatever else there is for it; 0: it did not.
    """


class Announcement(Struct, frozen=True, kw_only=True, gc=False):
    """A transition, worded, with the notifications that tell of it: what one commit records."""

    transition: Transition
    summary: str
    """One line for a person: what, where, value against threshold."""
    notifications: tuple[Notification, ...] = ()
    end: Notification | None = None
    """Of an end: what it tells ``WHOEVER_KNOWS``, who has an id and a group when it is recorded."""
    flapping: FlappingEpisode | None = None
    """How its series flaps since this transition, if it does."""


def notification_id(about_id: str, kind: str, target: Target) -> str:
    """Return the id of what tells ``target`` that ``kind`` has happened to an incident.

    ``about_id`` is the incident's, or that of an episode of flapping.
    """
    identity = (
        f"notification\x1d{about_id}\x1d{kind}\x1d{target.channel}\x1d{target.endpoint or ''}"
    )
    return str(uuid.uuid5(NAMESPACE, identity))

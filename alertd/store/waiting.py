"""Notifications that wait for their time: held back, or to be repeated.

Owns the columns ``look_us`` and ``held_…`` of the table once a row is in it. Leaves the decisions
to ``notify/review.py``. Invariant: what is decided is done only if the row still waits, and but for
ends the incident is still on and not acknowledged, so a decision that comes too late tells nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import apsw
import msgspec

from alertd.model import Target
from alertd.notify.review import RESOLVED, Action, ReviewReason, Verdict, Waiting
from alertd.outbound import DeliveryStatus, HoldReason, Notification
from alertd.store import timeline
from alertd.store.history import group_of
from alertd.store.posting import post, release
from alertd.store.readers import Readers
from alertd.store.timeline import TimelineEntry, TimelineEvent
from alertd.store.writer import Writer

_DUE: Final = """
    SELECT n.seq, n.id, i.id, n.rule_id, n.kind, n.channel, n.endpoint, n.group_key,
           n.view, n.repeat_us, n.after_us, m.status, n.held_by, n.held_ref,
           i.rule_name, i.severity, i.group_labels, i.ended_us, i.acked_us
    FROM notifications n
    JOIN incidents i ON i.seq = n.incident_seq
    LEFT JOIN messages m ON m.seq = n.message_seq
    WHERE n.look_us <= ? ORDER BY n.look_us, n.seq LIMIT ?"""

PORTION: Final = 500
"""Rows that one transaction makes due."""

Place = tuple[str, int]
"""Of a row that is held back: what holds it, and its ``seq``."""

_HELD: Final = """
    SELECT held_ref, seq FROM notifications INDEXED BY notifications_held
    WHERE message_seq IS NULL AND look_us IS NOT NULL AND {} ORDER BY held_ref, seq LIMIT ?"""


class WaitingList:
    """The notifications that wait."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def due(self, now_us: int, *, limit: int) -> list[Waiting]:
        """Return up to ``limit`` whose time to be looked at has come, the longest due first."""
        return await self._readers.run("read what waits", partial(_due, now_us, limit))

    async def next_look_us(self) -> int | None:
        """Return when the next is to be looked at; None if none waits."""
        return await self._readers.run("read what waits", _next_look_us)

    async def look_again(self, now_us: int, after: Place | None) -> Place | None:
        """Have up to ``PORTION`` of what is held back be looked at now.

        Begins with None, and again with what it returned, until that is None. What waits for its
        escalation is left alone: nothing but time holds it back.
        """
        work = partial(_look_again, now_us, after)
        return await self._writer.run("look at what waits", work, must_go_on=True)

    async def apply(
        self,
        decided: Sequence[tuple[Waiting, Verdict]],
        told: Sequence[Notification],
        now_us: int,
    ) -> None:
        """Do what was decided, in one transaction.

        ``told`` are the notifications to tell for it: those that are released, and repeats.
        """
        await self._writer.run(
            "release notifications", partial(_apply, decided, told, now_us), must_go_on=True
        )


def _due(now_us: int, limit: int, connection: apsw.Connection) -> list[Waiting]:
    found = []
    for seq, notification_id, incident_id, rule_id, kind, channel, endpoint, *rest in list(
        connection.execute(_DUE, (now_us, limit))
    ):
        group_key, view, repeat_us, after_us, status, held_by, held_ref, *incident = rest
        rule_name, severity, labels, ended_us, acked_us = incident
        found.append(
            Waiting(
                seq=seq,
                id=notification_id,
                incident_id=incident_id,
                rule_id=rule_id,
                kind=kind,
                target=Target(channel, endpoint),
                group_key=group_key,
                view=view.encode(),
                repeat_us=repeat_us,
                after_us=after_us,
                status=None if status is None else DeliveryStatus(status),
                held_by=held_by,
                held_ref=held_ref,
                rule_name=rule_name,
                severity=severity,
                group=group_of(labels),
                ended_us=ended_us,
                acked_us=acked_us,
            )
        )
    return found


def _look_again(now_us: int, after: Place | None, connection: apsw.Connection) -> Place | None:
    rows: list[Place] = []
    ref, seq = after or ("", -1)
    for behind, place in (("held_ref = ? AND seq > ?", (ref, seq)), ("held_ref > ?", (ref,))):
        if not rows:
            rows = list(connection.execute(_HELD.format(behind), (*place, PORTION)))
    connection.executemany(
        "UPDATE notifications SET look_us = ? "
        "WHERE seq = ? AND look_us > ? AND message_seq IS NULL AND held_by != ?",
        [(now_us, seq, now_us, HoldReason.ESCALATES.value) for _, seq in rows],
    )
    return rows[-1] if rows else None


def _next_look_us(connection: apsw.Connection) -> int | None:
    next_us: int | None = connection.execute(
        "SELECT min(look_us) FROM notifications WHERE look_us IS NOT NULL"
    ).get
    return next_us


def _apply(
    decided: Sequence[tuple[Waiting, Verdict]],
    told: Sequence[Notification],
    now_us: int,
    connection: apsw.Connection,
) -> None:
    told_by_id = {notification.id: notification for notification in told}
    released = []
    for waiting, verdict in decided:
        hold = verdict.hold
        if verdict.action is Action.RELEASE:
            released.append((told_by_id.pop(waiting.id), _why_released(waiting, verdict)))
        elif waiting.status is None and hold is not None:
            connection.execute(
                "UPDATE notifications SET look_us = ?, held_by = ?, held_ref = ? "
                "WHERE seq = ? AND look_us IS NOT NULL",
                (verdict.look_us, hold.reason.value, hold.ref, waiting.seq),
            )
            if (hold.reason.value, hold.ref) != (waiting.held_by, waiting.held_ref):
                _note(connection, waiting, TimelineEvent(hold.reason.value), hold.detail, now_us)
        else:
            connection.execute(
                "UPDATE notifications SET look_us = ? WHERE seq = ? AND look_us IS NOT NULL",
                (verdict.look_us, waiting.seq),
            )
            if waiting.status is None and verdict.action is Action.REST:
                _note(connection, waiting, TimelineEvent.WITHHELD, verdict.reason.value, now_us)
    needed = _needed(connection, told)
    release(connection, [(each, why) for each, why in released if each.id in needed])
    post(connection, [repeat for repeat in told_by_id.values() if repeat.id in needed])


def _needed(connection: apsw.Connection, told: Collection[Notification]) -> set[str]:
    """Return the ids of those of ``told`` that somebody has to be told of still.

    Nobody has to of an incident that was acknowledged since, or has ended, but for its end.
    """
    rows = connection.execute(
        "SELECT id FROM incidents WHERE id IN (SELECT value FROM json_each(?)) "
        "AND ended_us IS NULL AND acked_us IS NULL",
        (msgspec.json.encode([each.incident_id for each in told]).decode(),),
    )
    on = {incident_id for (incident_id,) in rows}
    return {each.id for each in told if each.kind == RESOLVED or each.incident_id in on}


def _why_released(waiting: Waiting, verdict: Verdict) -> str:
    if waiting.held_by is None:
        return "its beginning was requeued"
    if verdict.reason is ReviewReason.NOT_HELD:
        return f"no longer {waiting.held_by}"
    return verdict.reason.value


def _note(
    connection: apsw.Connection, waiting: Waiting, what: TimelineEvent, detail: str, at_us: int
) -> None:
    text = f"{waiting.target.channel}: {detail}"
    timeline.write(
        connection, [(waiting.incident_id, TimelineEntry(at_us, what, text, waiting.id))]
    )

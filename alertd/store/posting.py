"""Notifications on their way into messages, in the transaction that records their transitions.

Owns the rows of new notifications, and of ``messages`` what grouping needs; the decisions are
``notify/grouping.py``'s. One that is held back has a row and no message: ``release`` gives it one.
Invariants: a notification is posted once, however often it is recorded. Of an incident whose
beginning is still held back the end is not told either, unless it was told as flapping. What a
commit without an fsync of its own begins is an open message, so before it is sent it has to be
closed, in a later commit that has one. An incident stays in the group in which its target first
heard of it, whatever is configured meanwhile, so that its end can never overtake its beginning.
Whoever heard of the beginning hears of the end, also if the rule and the routes name others by
then. Where all that told of it was given up, the end is kept for the case that it is requeued.

Cost: two queries for all notifications of a call, and one for each group.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import apsw
import msgspec

from alertd.channels.message import MessageKind
from alertd.model import Target
from alertd.notify.grouping import LastMessage, Placement, place
from alertd.notify.review import REPEAT, RESOLVED
from alertd.outbound import DeliveryStatus, HoldReason, Notification, notification_id
from alertd.store import timeline
from alertd.store.timeline import TimelineEntry, TimelineEvent

_GroupId = tuple[Target, str]


def post(
    connection: apsw.Connection,
    notifications: Sequence[Notification],
    *,
    ends: Sequence[Notification] = (),
    more_follow: bool = False,
) -> None:
    """Write those of ``notifications`` that are new, each with the message that will tell it.

    ``ends`` are for ``WHOEVER_KNOWS``. Where ``more_follow`` the messages stay open for them, also
    those that may leave at once.
    """
    told_before = _told_before(connection, (*notifications, *ends))
    others = _for_others(connection, notifications, ends, told_before)
    fresh = _fresh(connection, (*notifications, *others))
    if fresh:
        _Post(connection, told_before, more_follow=more_follow).take(fresh)


def release(connection: apsw.Connection, released: Sequence[tuple[Notification, str]]) -> None:
    """Have those told that are still held back, each with why; ``created_us`` is now."""
    if not released:
        return
    waiting = _waiting(connection, [notification for notification, _ in released])
    due = [(notification, why) for notification, why in released if notification.id in waiting]
    if due:
        told_before = _told_before(connection, [notification for notification, _ in due])
        _Post(connection, told_before).release(due)


def _waiting(connection: apsw.Connection, notifications: Iterable[Notification]) -> set[str]:
    rows = connection.execute(
        "SELECT id FROM notifications WHERE id IN (SELECT value FROM json_each(?)) "
        "AND message_seq IS NULL AND look_us IS NOT NULL",
        (_json_array(notification.id for notification in notifications),),
    )
    return {notification_id for (notification_id,) in rows}


def _for_others(
    connection: apsw.Connection,
    notifications: Iterable[Notification],
    ends: Iterable[Notification],
    told_before: Mapping[tuple[str, Target], _Telling],
) -> list[Notification]:
    """Return ``ends`` for those who may know of a beginning and are not named any more."""
    named = {(one.incident_id, one.target) for one in notifications}
    ends_of = {end.incident_id: end for end in ends}
    for (incident_id, target), telling in told_before.items():
        if incident_id in ends_of and (incident_id, target) not in named:
            telling.was_lost = _has_failed(connection, telling.messages)
    return [
        msgspec.structs.replace(
            ends_of[incident_id], id=notification_id(incident_id, RESOLVED, target), target=target
        )
        for (incident_id, target), telling in told_before.items()
        if incident_id in ends_of
        and (incident_id, target) not in named
        and (telling.has_begun or telling.was_lost)
    ]


def _has_failed(connection: apsw.Connection, messages: Collection[int]) -> bool:
    """Return whether all of ``messages``, of which there are some, were given up."""
    statuses = connection.execute(
        "SELECT DISTINCT status FROM messages WHERE seq IN (SELECT value FROM json_each(?))",
        (_json_array(messages),),
    )
    return [status for (status,) in statuses] == [DeliveryStatus.FAILED.value]


def _fresh(
    connection: apsw.Connection, notifications: Sequence[Notification]
) -> list[Notification]:
    wanted: dict[str, Notification] = {}
    for notification in notifications:
        wanted.setdefault(notification.id, notification)
    known = connection.execute(
        "SELECT id FROM notifications WHERE id IN (SELECT value FROM json_each(?))",
        (_json_array(wanted),),
    )
    for (known_id,) in list(known):
        del wanted[known_id]
    return list(wanted.values())


@dataclass(slots=True)
class _Telling:
    """In which group a target hears of an incident, and by which messages it was to so far."""

    group_key: str
    messages: set[int]
    held: dict[str, str]
    """What of it is held back, or was until there was no need: ids of notifications, reasons."""
    reports: dict[str, str] = field(default_factory=dict)
    """Of what was laid to rest while the series flapped: by its id, that of the report of that."""
    knows_it_flaps: bool = False
    """Whether it was told that the series flaps, in place of something of this incident."""
    was_lost: bool = False
    """Whether all that told it was given up, and it is not named any more."""

    @property
    def has_begun(self) -> bool:
        """Whether the target was told of the incident, or is to be."""
        return (bool(self.messages) and not self.was_lost) or self.knows_it_flaps


def _told_before(
    connection: apsw.Connection, notifications: Iterable[Notification]
) -> dict[tuple[str, Target], _Telling]:
    incidents = {notification.incident_id for notification in notifications}
    found: dict[tuple[str, Target], _Telling] = {}
    for incident_id, channel, endpoint, group_key, seq, own_id, held_by, held_ref, look_us in list(
        connection.execute(
            "SELECT i.id, n.channel, n.endpoint, n.group_key, n.message_seq, n.id, n.held_by, "
            "n.held_ref, n.look_us FROM incidents i "
            "JOIN notifications n INDEXED BY notifications_of_incident ON n.incident_seq = i.seq "
            "WHERE i.id IN (SELECT value FROM json_each(?)) ORDER BY n.seq",
            (_json_array(incidents),),
        )
    ):
        key = (incident_id, Target(channel, endpoint))
        telling = found.setdefault(key, _Telling(group_key, set(), {}))
        if seq is not None:
            telling.messages.add(seq)
            continue
        telling.held[own_id] = held_by  # one laid to rest was never told either
        if look_us is None and held_by == HoldReason.FLAPPING.value:
            telling.reports[own_id] = notification_id(held_ref, MessageKind.FLAPPING, key[1])
    _note_who_knows_it_flaps(connection, found.values())
    return found


def _note_who_knows_it_flaps(connection: apsw.Connection, tellings: Collection[_Telling]) -> None:
    reports = {report_id for telling in tellings for report_id in telling.reports.values()}
    if not reports:
        return
    rows = connection.execute(
        "SELECT id FROM notifications WHERE id IN (SELECT value FROM json_each(?)) "
        "AND message_seq IS NOT NULL",
        (_json_array(reports),),
    )
    told = {report_id for (report_id,) in rows}
    for telling in tellings:
        for own_id, report_id in telling.reports.items():
            if report_id in told:
                telling.knows_it_flaps = True
                del telling.held[own_id]


class _Post:
    """The newest message of each group that one transaction touches, and what it writes."""

    def __init__(
        self,
        connection: apsw.Connection,
        tellings: dict[tuple[str, Target], _Telling],
        *,
        more_follow: bool = False,
    ) -> None:
        self._connection = connection
        self._more_follow = more_follow
        self._tellings = tellings
        self._newest: dict[_GroupId, LastMessage] = {}
        self._next_seq: int = connection.execute("SELECT max(seq) FROM messages").get or 0
        self._made: list[tuple[object, ...]] = []
        self._touched: dict[int, LastMessage] = {}
        """The messages that take something in, as they are then."""

    def take(self, notifications: Sequence[Notification]) -> None:
        """Place all, then write all."""
        rows, lines, withheld = [], [], list[str]()
        for notification in notifications:
            telling = self._tellings.setdefault(
                (notification.incident_id, notification.target),
                _Telling(notification.group_key, set(), {}),
            )
            reason = None
            if notification.kind == RESOLVED and telling.held:
                reason = next(iter(telling.held.values()))
                withheld += telling.held
                telling.held.clear()
            if notification.kind == RESOLVED and not telling.has_begun:
                rows.append(_row(notification, telling.group_key, None, held_by=reason))
                detail = "nobody was told that it began"
                if reason is not None:
                    detail = f"it ended before it could be told ({reason})"
                lines.append(_line(notification, TimelineEvent.WITHHELD, detail))
            elif (hold := notification.hold) is not None:
                telling.held[notification.id] = hold.reason.value
                rows.append(
                    _row(
                        *(notification, telling.group_key, None),
                        held_by=hold.reason.value,
                        held_ref=hold.ref,
                        look_us=hold.until_us,
                    )
                )
                lines.append(_line(notification, TimelineEvent(hold.reason.value), hold.detail))
            else:
                seq, placement = self._place(notification, telling)
                telling.messages.add(seq)
                look_us = _repeat_at_us(notification)
                rows.append(_row(notification, telling.group_key, seq, look_us=look_us))
                why = "told again; " if notification.kind == REPEAT else ""
                detail = f"{why}{placement.reason.value}"
                lines.append(_line(notification, TimelineEvent.QUEUED, detail))
        self._connection.executemany(_INSERT_NOTIFICATION, rows)
        self._connection.executemany(
            "UPDATE notifications SET look_us = NULL WHERE id = ?", [(one,) for one in withheld]
        )
        self._write_messages()
        timeline.write(self._connection, lines)

    def release(self, released: Iterable[tuple[Notification, str]]) -> None:
        """Give those that were held back the messages that tell them."""
        rows, lines = [], []
        for notification, why in released:
            telling = self._tellings[notification.incident_id, notification.target]
            seq, placement = self._place(notification, telling)
            telling.messages.add(seq)
            rows.append((seq, _repeat_at_us(notification), notification.id))
            detail = f"{why}; {placement.reason.value}"
            lines.append(_line(notification, TimelineEvent.QUEUED, detail))
        self._connection.executemany(
            "UPDATE notifications SET message_seq = ?, look_us = ? WHERE id = ?", rows
        )
        self._write_messages()
        timeline.write(self._connection, lines)

    def _write_messages(self) -> None:
        self._connection.executemany(_INSERT_MESSAGE, self._made)
        self._connection.executemany(
            "UPDATE messages SET parts = ?, due_us = ?, begun_us = ?, "
            "next_attempt_us = min(next_attempt_us, ?) WHERE seq = ?",
            [(m.parts, m.due_us, m.due_us, m.due_us, m.seq) for m in self._touched.values()],
        )

    def _place(self, notification: Notification, telling: _Telling) -> tuple[int, Placement]:
        """Return the ``seq`` of the message that tells ``notification``, and why it does."""
        group = (notification.target, telling.group_key)
        newest = self._newest.get(group) or _last_message(self._connection, *group)
        apart = not notification.timing.collapse and _is_among(newest, telling.messages)
        placement = place(notification, newest, apart=apart)
        if newest is None or not placement.joins:
            newest = self._begin(notification, group, placement)
        newest = msgspec.structs.replace(
            newest, parts=newest.parts + 1, due_us=min(newest.due_us, placement.due_us)
        )
        self._newest[group] = self._touched[newest.seq] = newest
        return newest.seq, placement

    def _begin(
        self, notification: Notification, group: _GroupId, placement: Placement
    ) -> LastMessage:
        self._next_seq += 1
        stays_open = placement.stays_open or self._more_follow
        self._made.append(_message_row(self._next_seq, notification, group, placement, stays_open))
        # What the same commit brings still joins, even where the message is closed afterwards.
        return LastMessage(
            seq=self._next_seq, due_us=placement.due_us, is_open=True, is_pending=True, parts=0
        )


def _is_among(message: LastMessage | None, seqs: Collection[int]) -> bool:
    return message is not None and message.seq in seqs


def _last_message(
    connection: apsw.Connection, target: Target, group_key: str
) -> LastMessage | None:
    row = connection.execute(
        "SELECT seq, due_us, is_open, status, parts FROM messages "
        "WHERE channel = ? AND endpoint IS ? AND group_key = ? ORDER BY seq DESC LIMIT 1",
        (target.channel, target.endpoint, group_key),
    ).fetchone()
    if row is None:
        return None
    seq, due_us, is_open, status, parts = row
    return LastMessage(
        seq=seq,
        due_us=due_us,
        is_open=bool(is_open),
        is_pending=status == DeliveryStatus.RETRY_PENDING.value,
        parts=parts,
    )


_INSERT_MESSAGE = (
    "INSERT INTO messages (seq, id, channel, endpoint, group_key, parts, is_open, collapses, "
    "status, attempts, created_us, due_us, begun_us, next_attempt_us) "
    "VALUES (?, ?, ?, ?, ?, 0, ?, ?, 'RETRY_PENDING', 0, ?, ?, ?, ?)"
)
_INSERT_NOTIFICATION = (
    "INSERT INTO notifications (id, incident_seq, rule_id, kind, channel, endpoint, group_key, "
    "created_us, message_seq, held_by, held_ref, look_us, repeat_us, view, after_us) "
    "VALUES (?, (SELECT seq FROM incidents WHERE id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _message_row(
    seq: int, first: Notification, group: _GroupId, placement: Placement, stays_open: bool
) -> tuple[object, ...]:
    target, group_key = group
    due_us = placement.due_us
    return (
        *(seq, first.id, target.channel, target.endpoint, group_key),
        *(stays_open, first.timing.collapse, first.created_us, due_us, due_us, due_us),
    )


def _row(
    notification: Notification,
    group_key: str,
    message_seq: int | None,
    *,
    held_by: str | None = None,
    held_ref: str | None = None,
    look_us: int | None = None,
) -> tuple[object, ...]:
    return (
        notification.id,
        notification.incident_id,
        notification.rule_id,
        notification.kind,
        notification.target.channel,
        notification.target.endpoint,
        group_key,
        notification.created_us,
        message_seq,
        held_by,
        held_ref,
        look_us,
        notification.repeat_us,
        notification.view.decode(),
        notification.after_us,
    )


def _repeat_at_us(notification: Notification) -> int | None:
    if notification.kind == RESOLVED or not notification.repeat_us:
        return None
    return notification.created_us + notification.repeat_us


def _line(
    notification: Notification, what: TimelineEvent, detail: str
) -> tuple[str, TimelineEntry]:
    entry = TimelineEntry(
        at_us=notification.created_us,
        what=what,
        detail=f"{notification.target.channel}{_via(notification)}: {detail}",
        notification_id=notification.id,
    )
    return notification.incident_id, entry


def _via(notification: Notification) -> str:
    return f" (by {notification.via})" if notification.via else ""


def _json_array(values: Iterable[str | int]) -> str:
    return msgspec.json.encode(list(values)).decode()

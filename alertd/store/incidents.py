"""Recording what the engine found, together with whom to tell of it.

Owns the writing side of ``incidents``, and the applied position. Invariant: incidents, their
notifications and the position in the log that led to them are one transaction. The engine's
columns are written whole and everything else only if it is new, so recording the same
announcements again, as a replay does, changes nothing. Leaves reading to ``history.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import apsw
import msgspec
from msgspec import Struct

from alertd.channels.wording import duration_text
from alertd.clock import format_us
from alertd.model import US_PER_S, Incident, Labels, TransitionKind
from alertd.outbound import Announcement
from alertd.store import flapping, timeline
from alertd.store.history import (
    INCIDENT_COLUMNS,
    HistoryItem,
    IncidentDetail,
    Page,
    group_text,
    read_group,
    read_incident,
    read_open,
    read_page,
)
from alertd.store.incident_query import HistoryQuery, check_query
from alertd.store.posting import post
from alertd.store.pruning import prune_incidents
from alertd.store.readers import Readers
from alertd.store.timeline import TimelineEntry, TimelineEvent
from alertd.store.writer import DEFAULT_WAL_BYTES, Writer

_WAL_BYTES_PER_ANNOUNCEMENT: Final = 8192

_UPSERT: Final = (
    f"INSERT INTO incidents ({', '.join(INCIDENT_COLUMNS)}) "  # noqa: S608  # constants
    f"VALUES ({', '.join('?' * len(INCIDENT_COLUMNS))}) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in INCIDENT_COLUMNS[1:])
)


class OpenIncident(Struct, frozen=True):
    """An incident that is on."""

    id: str
    rule_name: str
    severity: str
    group: Mapping[str, str]


class Acknowledgement(Struct, frozen=True):
    """How far an incident was when somebody acknowledged it."""

    ended_us: int | None
    acked_us: int | None


class IncidentStore:
    """The incidents: written by the pipeline, read by people."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def record(self, announcements: Sequence[Announcement], *, applied: int | None) -> None:
        """Record ``announcements``, and that the log is applied up to ``applied``, as one.

        ``applied`` is None for a portion behind which more of the same input comes. It has no
        fsync of its own; nobody is told of it before the power cannot take it any more.

        A later call wins over an earlier one for an incident; the applied position never falls.
        An announcement without an incident (pending, cleared) leaves no row: an incident that
        fires has its pending time in its timeline.
        """
        wal_bytes = DEFAULT_WAL_BYTES + len(announcements) * _WAL_BYTES_PER_ANNOUNCEMENT
        await self._writer.run(
            "record incidents",
            partial(_record, announcements, applied),
            wal_bytes=wal_bytes,
            must_go_on=True,
            may_be_redone=applied is None,
        )

    async def history(self, query: HistoryQuery) -> Page[HistoryItem]:
        """Return a page of incidents, the newest first. Raises ``InvalidParameters``."""
        check_query(query)
        return await self._readers.run("read the history", partial(read_page, query))

    async def get(self, incident_id: str) -> IncidentDetail | None:
        """Return one incident with its timeline; None if there is none of that id."""
        return await self._readers.run("read an incident", partial(read_incident, incident_id))

    async def of_group(self, rule_id: str, group: Labels, since_us: int) -> list[Incident]:
        """Return a group's incidents that were still on at ``since_us`` or began later.

        By their start.
        """
        work = partial(read_group, rule_id, group_text(group), since_us)
        return await self._readers.run("read a group's incidents", work)

    async def told_open(self) -> list[Incident]:
        """Return every incident that is on by what was told, by its start."""
        return await self._readers.run("read the open incidents", read_open)

    async def open(self) -> list[OpenIncident]:
        """Return every incident that is on, as matchers see it."""
        return await self._readers.run("read the open incidents", _open)

    async def acknowledge(self, incident_id: str, by: str, now_us: int) -> Acknowledgement | None:
        """Note that somebody has seen an incident that is on; it is not repeated any more.

        Returns what was the case before, None if there is none of that id; an incident that has
        ended, or was acknowledged before, stays as it is.
        """
        return await self._writer.run(
            "acknowledge an incident", partial(_acknowledge, incident_id, by, now_us)
        )

    async def prune(self, *, before_us: int) -> int:
        """Delete some incidents that ended before ``before_us``, with all that was told of them.

        Returns how many: call it again while that is ``pruning.STEP_INCIDENTS``. One of which
        somebody is still to be told stays. Raises ``StoreUnavailable``.
        """
        return await self._writer.run("forget incidents", partial(prune_incidents, before_us))

    async def applied(self) -> int:
        """Return the position in the log up to which everything found is recorded."""
        return await self._readers.run("read the applied position", _applied)

    async def told_us(self) -> int:
        """Return the wall time at which the newest of what is recorded was found; 0 for nothing."""
        return await self._readers.run("read when anything was told last", _told_us)


def _record(
    announcements: Sequence[Announcement], applied: int | None, connection: apsw.Connection
) -> None:
    connection.executemany(_UPSERT, _incident_rows(announcements))
    timeline.write(connection, _lines(announcements))
    flapping.note(connection, announcements)
    post(
        connection,
        [
            notification
            for announcement in announcements
            for notification in announcement.notifications
        ],
        ends=[announcement.end for announcement in announcements if announcement.end is not None],
        more_follow=applied is None,
    )
    connection.executemany(
        "UPDATE notifications SET look_us = ? "
        "WHERE held_ref = ? AND message_seq IS NULL AND look_us IS NOT NULL",
        [
            (announcement.transition.detected_us, announcement.transition.incident.id)
            for announcement in announcements
            if announcement.transition.kind is TransitionKind.RESOLVED
            and announcement.transition.incident is not None
        ],
    )
    if applied is not None:
        connection.execute(
            "UPDATE meta SET value = max(value, ?) WHERE key = 'applied_position'", (applied,)
        )
    connection.execute(
        "INSERT INTO meta VALUES ('told_us', ?) "
        "ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
        (max((each.transition.detected_us for each in announcements), default=0),),
    )


def _incident_rows(announcements: Sequence[Announcement]) -> Iterator[tuple[object, ...]]:
    for announcement in announcements:
        incident, rule = announcement.transition.incident, announcement.transition.rule
        if incident is None:
            continue
        yield (
            incident.id,
            incident.rule_id,
            rule.name,
            incident.rule_version,
            rule.severity.value,
            rule.threshold,
            rule.operator.value,
            group_text(incident.group),
            incident.started_us,
            incident.fired_us,
            incident.ended_us,
            incident.detected_us,
            incident.value,
            incident.peak_value,
            incident.window_start_us,
            incident.window_end_us,
            incident.event_time_us,
            incident.late_by_us,
            incident.detected_by.value,
            None if incident.end_reason is None else incident.end_reason.value,
            incident.continues,
            incident.merged_into,
            announcement.summary,
        )


def _lines(announcements: Sequence[Announcement]) -> Iterator[tuple[str, TimelineEntry]]:
    for announcement in announcements:
        incident = announcement.transition.incident
        if incident is None:
            continue
        if announcement.transition.kind is TransitionKind.FIRING:
            for entry in _fired(incident, announcement.summary):
                yield incident.id, entry
        elif announcement.transition.kind is TransitionKind.RESOLVED:
            yield incident.id, _resolved(incident, announcement)
        elif announcement.transition.kind is TransitionKind.CORRECTED:
            yield incident.id, _corrected(incident)


def _fired(incident: Incident, summary: str) -> Iterator[TimelineEntry]:
    if incident.fired_us > incident.started_us:
        length = duration_text((incident.fired_us - incident.started_us) / US_PER_S)
        detail = f"the condition holds; after {length} it is an incident"
        yield TimelineEntry(incident.started_us, TimelineEvent.PENDING, detail)
    yield TimelineEntry(incident.fired_us, TimelineEvent.FIRED, summary)


def _resolved(incident: Incident, announcement: Announcement) -> TimelineEntry:
    at_us = announcement.transition.at_us if incident.ended_us is None else incident.ended_us
    reason = "" if incident.end_reason is None else incident.end_reason.value
    return TimelineEntry(at_us, TimelineEvent.RESOLVED, reason)


def _corrected(incident: Incident) -> TimelineEntry:
    """Return what late data has made of an incident, at its end as it is known now."""
    started, ended_us = format_us(incident.started_us), incident.ended_us
    if incident.merged_into is not None:
        detail = f"late events show that it is a part of {incident.merged_into}"
    elif ended_us is None:
        detail = f"late events show that it is on since {started}"
    else:
        detail = f"late events show that it lasted from {started} to {format_us(ended_us)}"
    at_us = incident.fired_us if ended_us is None else ended_us
    return TimelineEntry(at_us, TimelineEvent.CORRECTED, detail)


def _open(connection: apsw.Connection) -> list[OpenIncident]:
    rows = connection.execute(
        "SELECT id, rule_name, severity, group_labels FROM incidents WHERE ended_us IS NULL"
    )
    return [
        OpenIncident(own_id, rule_name, severity, msgspec.json.decode(labels, type=dict[str, str]))
        for own_id, rule_name, severity, labels in rows
    ]


def _acknowledge(
    incident_id: str, by: str, now_us: int, connection: apsw.Connection
) -> Acknowledgement | None:
    row = connection.execute(
        "SELECT ended_us, acked_us FROM incidents WHERE id = ?", (incident_id,)
    ).fetchone()
    if row is None:
        return None
    before = msgspec.convert(row, tuple[int | None, int | None])
    if before == (None, None):
        connection.execute(
            "UPDATE incidents SET acked_us = ?, acked_by = ? WHERE id = ?",
            (now_us, by, incident_id),
        )
        connection.execute(
            "UPDATE notifications SET look_us = ? WHERE look_us IS NOT NULL "
            "AND incident_seq = (SELECT seq FROM incidents WHERE id = ?)",
            (now_us, incident_id),
        )
        line = TimelineEntry(now_us, TimelineEvent.ACKNOWLEDGED, by)
        timeline.write(connection, [(incident_id, line)])
    return Acknowledgement(*before)


def _told_us(connection: apsw.Connection) -> int:
    at_us: int | None = connection.execute("SELECT value FROM meta WHERE key = 'told_us'").get
    return at_us or 0


def _applied(connection: apsw.Connection) -> int:
    position: int = connection.execute("SELECT value FROM meta WHERE key = 'applied_position'").get
    return position

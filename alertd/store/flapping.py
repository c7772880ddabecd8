"""Series that flap, on disk: a restart knows what has been told of them, and what they count.

Owns the table ``flapping``, one row for each series that ever flapped; it goes with the incident
that changed last. Leaves their meaning to ``notify/flapping.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import apsw

from alertd.model import Incident, IncidentSeries
from alertd.outbound import Announcement, FlappingEpisode
from alertd.store.history import group_of, group_text, read_recent
from alertd.store.readers import Readers

MAX_RECENT: Final = 100_000
"""Incidents whose changes are looked at after a restart."""

_UPSERT: Final = """
    INSERT INTO flapping
    VALUES (?, ?, ?, (SELECT seq FROM incidents WHERE id = ?), ?, ?, ?, ?)
    ON CONFLICT (rule_id, group_labels) DO UPDATE
    SET id = excluded.id, incident_seq = excluded.incident_seq, since_us = excluded.since_us,
        changes = excluded.changes, last_us = excluded.last_us, stable_us = excluded.stable_us
    WHERE excluded.stable_us >= stable_us"""


class FlappingTable:
    """What a restart has to know of series that flap."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def episodes(self) -> list[FlappingEpisode]:
        """Return how each series flapped last."""
        return await self._readers.run("read what flaps", _episodes)

    async def recent(self, within_us: int) -> Sequence[Incident]:
        """Return the incidents that changed in the last ``within_us`` of what is recorded."""
        work = partial(read_recent, within_us, MAX_RECENT)
        return await self._readers.run("read the recent incidents", work)


def note(connection: apsw.Connection, announcements: Iterable[Announcement]) -> None:
    """Write how the series of ``announcements`` flap, in the caller's transaction."""
    connection.executemany(
        _UPSERT,
        [
            _row(announcement.flapping, announcement.transition.incident)
            for announcement in announcements
            if announcement.flapping is not None and announcement.transition.incident is not None
        ],
    )


def _row(episode: FlappingEpisode, incident: Incident) -> tuple[str | int, ...]:
    return (
        episode.series.rule_id,
        group_text(episode.series.group),
        episode.id,
        incident.id,
        episode.since_us,
        episode.changes,
        episode.last_us,
        episode.stable_us,
    )


def _episodes(connection: apsw.Connection) -> list[FlappingEpisode]:
    rows = connection.execute(
        "SELECT rule_id, group_labels, id, since_us, changes, last_us, stable_us FROM flapping"
    )
    return [
        FlappingEpisode(
            id=episode_id,
            series=IncidentSeries(rule_id, group_of(labels)),
            since_us=since_us,
            changes=changes,
            last_us=last_us,
            stable_us=stable_us,
        )
        for rule_id, labels, episode_id, since_us, changes, last_us, stable_us in rows
    ]

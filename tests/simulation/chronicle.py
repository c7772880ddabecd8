"""What the store has ever held, also what it has forgotten since.

The checkers judge a world by all that happened in it. A store that forgets is looked at often,
and before incidents go, so that whatever goes was written down before. What a look finds is right
where it differs from an earlier one: a crash may have taken what was never promised.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import apsw
import msgspec

from alertd.model import Labels
from alertd.store import incidents, pruning
from alertd.store.protocols import LogEntry
from alertd.store.segments import folded_position
from alertd.store.store import Store


class IncidentRow(NamedTuple):
    """An incident as the database has it."""

    id: str
    rule_id: str
    group: Labels
    started_us: int
    fired_us: int
    ended_us: int | None
    end_reason: str | None
    merged_into: str | None
    detected_us: int


class NotificationRow(NamedTuple):
    """A notification as the database has it, with the message that tells it."""

    seq: int
    id: str
    key: str | None
    """The message's idempotency key; None while it is held back."""
    incident_id: str
    kind: str
    channel: str
    status: str | None
    attempts: int | None
    created_us: int
    held_by: str | None
    look_us: int | None
    """When it is to be looked at again."""


class Held(NamedTuple):
    """What the tables hold at a moment."""

    incidents: dict[str, IncidentRow]
    notifications: dict[str, NotificationRow]
    """Both by id."""
    collapsed: set[str]
    """Notifications that moved to the message of their incident's end."""
    folded: int
    """The position in the log up to which entries are folded, or gone."""
    end: int
    """The position of the newest entry."""


class Chronicle:
    """Everything that was seen in a store."""

    def __init__(self) -> None:
        self.log: dict[int, LogEntry] = {}
        """By position."""
        self.incidents: dict[str, IncidentRow] = {}
        self.notifications: dict[str, NotificationRow] = {}
        self.collapsed: set[str] = set()
        self.held = Held({}, {}, set(), 0, 0)
        """What was there at the last look."""
        self._log_seen: tuple[Store, int, int] | None = None
        """The store, and the state of its log, when that was read last."""

    async def look(self, store: Store) -> None:
        """Write down what is there now. Raises ``StoreUnavailable``."""
        held = await store.writer.run("read what is there", _read, wal_bytes=0, must_go_on=True)
        log_seen = (store, held.end, held.folded)
        if log_seen != self._log_seen:
            await self._read_log(store, held.folded)
            self._log_seen = log_seen
        self._write_down(held)
        self.held = held

    @contextmanager
    def looking_before_pruning(self) -> Iterator[None]:
        """While the block runs, look whenever incidents are about to be forgotten.

        What is recorded when a full disk has room again may have ended long ago: it is told and
        forgotten within moments.
        """
        prune = pruning.prune_incidents

        def look_and_prune(before_us: int, connection: apsw.Connection) -> int:
            self._write_down(_read(connection))
            return prune(before_us, connection)

        with mock.patch.object(incidents, "prune_incidents", look_and_prune):
            yield

    def _write_down(self, held: Held) -> None:
        self.incidents |= held.incidents
        self.notifications |= held.notifications
        self.collapsed |= held.collapsed

    async def _read_log(self, store: Store, folded: int) -> None:
        entries = {entry.position: entry async for entry in store.events.replay(0)}
        gone = {
            position: entry
            for position, entry in self.log.items()
            if position <= folded and position not in entries
        }
        self.log = dict(sorted((gone | entries).items()))


def _read(connection: apsw.Connection) -> Held:
    found = [
        IncidentRow(incident_id, rule_id, _labels(group), *rest)
        for incident_id, rule_id, group, *rest in connection.execute(
            "SELECT id, rule_id, group_labels, started_us, fired_us, ended_us, end_reason, "
            "merged_into, detected_us FROM incidents ORDER BY started_us, id"
        )
    ]
    notifications = [
        NotificationRow(*row)
        for row in connection.execute(
            "SELECT n.seq, n.id, m.id, i.id, n.kind, n.channel, m.status, m.attempts, "
            "n.created_us, n.held_by, n.look_us "
            "FROM notifications n JOIN incidents i ON i.seq = n.incident_seq "
            "LEFT JOIN messages m ON m.seq = n.message_seq ORDER BY n.seq"
        )
    ]
    collapsed = connection.execute("SELECT notification_id FROM timeline WHERE what = 'collapsed'")
    return Held(
        {row.id: row for row in found},
        {row.id: row for row in notifications},
        {str(notification_id) for (notification_id,) in collapsed},
        folded_position(connection),
        connection.execute("SELECT ifnull(max(position), 0) FROM event_log").get,
    )


def _labels(text: str) -> Labels:
    return tuple(msgspec.json.decode(text, type=dict[str, str]).items())

"""Folding: entries of the log become a segment of compressed blocks.

Owns the order of the steps, each a transaction short enough that no append waits long for it, and
none with an fsync of its own (the next append has one):

1. Read entries, sort and encode their events; no transaction is open meanwhile.
2. Insert the blocks, in portions. Until 3. nobody sees them.
3. In one small transaction the segment gets its row: from here on its blocks count and its entries
   in the log do not (``segments.py``).
4. Add the blocks to the totals of their series, some blocks at a time.
5. Delete the entries, in portions.

Invariant: folding changes the form of what is stored, never the content. Stopped anywhere, by a
crash too, it has left one form or the other of each entry, and the next ``settle`` does what is
left: blocks from before 3. are deleted, 4. and 5. go on where they were.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw
import trio

from alertd.store.entry_codec import decode_batch
from alertd.store.envelope import BadEntry
from alertd.store.failures import corrupt
from alertd.store.portion import Portion
from alertd.store.readers import Readers
from alertd.store.segments import (
    PackedBlock,
    Segment,
    SeriesTotals,
    count_blocks,
    delete_folded_entries,
    delete_unowned_blocks,
    folded_position,
    insert_blocks,
    insert_segment,
    uncounted_blocks,
)
from alertd.store.writer import DEFAULT_WAL_BYTES, Writer

if TYPE_CHECKING:
    from alertd.store.segment_draft import SegmentDraft

READ_BYTES: Final = 1 << 20
"""So much of the log is read and sorted at a time."""
MAX_ENTRIES: Final = 200_000
"""A segment has no more entries, however few their events: its directory is one row."""
WRITE_BYTES: Final = 256 << 10
"""So much of blocks is inserted in one transaction, or one block."""
COUNT_SERIES: Final = 1000
"""So many series get new totals in one transaction, or those of one block."""
DELETE_BYTES: Final = 256 << 10
DELETE_ENTRIES: Final = 1000
DELETE_BLOCKS: Final = 32
"""So much is deleted in one transaction. All of these are at most; see ``portion.py``."""

_DELETE: Final = "delete what was folded"

Rest = Callable[[], Awaitable[None]]
"""Called between two portions, to leave time to others."""


class Unfolded(NamedTuple):
    """What the log has that could be folded."""

    events: int
    oldest_received_us: int | None
    """None if there is nothing."""


class _Entry(NamedTuple):
    position: int
    received_us: int
    body: bytes


class Folding:
    """Folds the log of a store. One thing at a time: whoever comes meanwhile waits."""

    def __init__(self, writer: Writer, readers: Readers, path: str) -> None:
        self._writer = writer
        self._readers = readers
        self._path = path
        self._lock = trio.Lock()
        self._unfolded_events = 0
        self._written_bytes = Portion(WRITE_BYTES)
        self._counted_series = Portion(COUNT_SERIES)
        self._deleted_entries = Portion(DELETE_ENTRIES)
        self._deleted_blocks = Portion(DELETE_BLOCKS)

    @property
    def unfolded_events(self) -> int:
        """How many events could be folded when that was last looked at."""
        return self._unfolded_events

    async def unfolded(self) -> Unfolded:
        """Return what could be folded now: all but the newest entry.

        Costs a look at the beginning of each entry: 3 us, or 0.1 us where entries are small.
        """
        unfolded = await self._readers.run("measure the event log", _unfolded)
        self._unfolded_events = unfolded.events
        return unfolded

    async def fold(self, max_events: int, rest: Rest = trio.lowlevel.checkpoint) -> int:
        """Fold the oldest entries, some ``max_events`` events, and return how many they were.

        The newest entry stays where it is, for the next position is one above it. Raises
        ``StoreUnavailable``, after which it may be tried again, and ``StoreCorrupt``.
        """
        async with self._lock:
            await self._settle(rest)
            draft = await self._gather(max_events, rest)
            if draft.events:
                await self._write(draft, rest)
                await self._settle(rest)
            return draft.events

    async def settle(self, rest: Rest = trio.lowlevel.checkpoint) -> None:
        """Do what an interrupted folding, or the removal of a segment's row, left to do."""
        async with self._lock:
            await self._settle(rest)

    async def _gather(self, max_events: int, rest: Rest) -> SegmentDraft:
        # Not imported before something is folded: a daemon that is at rest saves NumPy's memory.
        from alertd.store.segment_draft import SegmentDraft

        draft = SegmentDraft()
        after = 0
        while draft.events < max_events and len(draft.directory.positions) < MAX_ENTRIES:
            entries = await self._readers.run("read the event log", partial(_read_entries, after))
            if not entries:
                break
            await self._readers.compute(partial(_add, self._path, draft, entries, max_events))
            after = draft.directory.positions[-1]
            await rest()
        return draft

    async def _write(self, draft: SegmentDraft, rest: Rest) -> None:
        positions = draft.directory.positions
        first_position = positions[0]
        blocks = draft.blocks()
        portion: list[PackedBlock] = []
        while block := await self._readers.compute(partial(next, blocks, None)):
            portion.append(block)
            if sum(len(packed.body) for packed in portion) >= self._written_bytes.size:
                await self._insert(first_position, portion)
                portion = []
            await rest()
        await self._insert(first_position, portion)
        segment = Segment(
            first_position=first_position,
            last_position=positions[-1],
            entries=len(positions),
            events=draft.events,
            least_us=draft.least_us,
            greatest_us=draft.greatest_us,
        )
        directory = await self._readers.compute(draft.directory.encode)
        await self._writer.run(
            "fold the event log",
            partial(insert_segment, segment, directory),
            wal_bytes=DEFAULT_WAL_BYTES + len(directory),
            may_be_redone=True,
        )

    async def _insert(self, segment: int, portion: list[PackedBlock]) -> None:
        await self._writer.run(
            "store folded events",
            partial(insert_blocks, segment, portion),
            wal_bytes=DEFAULT_WAL_BYTES + sum(len(block.body) for block in portion),
            may_be_redone=True,
            portion=self._written_bytes,
        )

    async def _settle(self, rest: Rest) -> None:
        await self._writer.run_in_portions(
            _DELETE, delete_unowned_blocks, self._deleted_blocks, rest
        )
        while blocks := await self._readers.run("read folded events", partial(uncounted_blocks, 8)):
            from alertd.store.segment_reads import totals_of  # needs NumPy

            totals: list[SeriesTotals] = []
            for block in blocks:
                totals += await self._readers.compute(partial(totals_of, block, self._path))
                if len(totals) >= self._counted_series.size or block is blocks[-1]:
                    await self._writer.run(
                        "count folded events",
                        partial(count_blocks, block.id, totals),
                        must_go_on=True,
                        may_be_redone=True,
                        portion=self._counted_series,
                    )
                    totals = []
                await rest()
        await self._writer.run_in_portions(_DELETE, _delete_entries, self._deleted_entries, rest)


def _delete_entries(limit: int, connection: apsw.Connection) -> int:
    max_bytes = max(1, DELETE_BYTES * limit // DELETE_ENTRIES)
    return delete_folded_entries(limit, max_bytes, connection)


def _unfolded(connection: apsw.Connection) -> Unfolded:
    row = connection.execute(
        "SELECT ifnull(sum(count), 0), min(received_us) FROM event_log WHERE position > ? "
        "AND kind = 'events' AND position < (SELECT max(position) FROM event_log)",
        (folded_position(connection),),
    ).fetchone()
    assert row is not None
    return Unfolded(*row)


def _read_entries(after: int, connection: apsw.Connection) -> list[_Entry]:
    """Return the next entries behind position ``after`` that can be folded."""
    rows = connection.execute(
        "SELECT position, received_us, body FROM event_log WHERE position > ? "
        "AND kind = 'events' AND position < (SELECT max(position) FROM event_log) "
        "ORDER BY position",
        (max(after, folded_position(connection)),),
    )
    entries: list[_Entry] = []
    size_bytes = 0
    for row in rows:
        entries.append(_Entry(*row))
        size_bytes += len(entries[-1].body)
        if size_bytes >= READ_BYTES:
            break
    rows.close(True)
    return entries


def _add(path: str, draft: SegmentDraft, entries: list[_Entry], max_events: int) -> None:
    """Have ``draft`` take entries until it has ``max_events``."""
    for position, received_us, body in entries:
        try:
            draft.add(position, decode_batch(body, received_us))
        except BadEntry as error:
            raise corrupt(path, f"event_log entry {position}: {error}") from error
        if draft.events >= max_events:
            return

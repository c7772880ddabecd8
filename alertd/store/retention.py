"""Retention of events: what is old enough becomes rollups, and those go when their time comes.

Owns the order of the steps, each a transaction short enough that no append waits long for it, and
none with an fsync of its own (the next append has one):

1. The oldest segment is old when all of its events are. Its blocks are read and rolled up, some at
   a time; no transaction is open meanwhile.
2. The blocks of rollups are inserted, in portions. Until 3. nobody sees them.
3. In one small transaction the segment's row gives way to one in ``rolled_up``.
4. The raw blocks are deleted, in portions (``Folding.settle``).

Invariant: each event counts once at any time, raw or rolled up; stopped anywhere it has left one
of the two. Segments go in the order of the log, so that only its beginning is ever missing; its
newest entry is in no segment, and changes of rules stay for ever. On a full disk it all goes on,
by the reserve: it is what makes room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import apsw
import trio

from alertd.store.envelope import BadEntry
from alertd.store.failures import corrupt
from alertd.store.folding import Folding, Rest
from alertd.store.portion import Portion
from alertd.store.readers import Readers
from alertd.store.rollup import roll_up
from alertd.store.rollup_codec import RollupRun
from alertd.store.rollups import (
    PackedRollups,
    delete_rollups,
    exchange,
    forget_rolled_up,
    insert_rollups,
    oldest_segment,
    pack_rollups,
    unowned_segments,
)
from alertd.store.segments import Segment, StoredBlock, folded_position
from alertd.store.writer import DEFAULT_WAL_BYTES, Writer

READ_BLOCKS: Final = 8
"""So many raw blocks are read at a time."""
BLOCK_ROLLUPS: Final = 4096
"""So many rollups are in a block, or as many more as one raw block makes of a series."""
DELETE_BLOCKS: Final = 32
"""At most so many blocks of rollups are deleted in one transaction; see ``portion.py``."""
FORGET_SEGMENTS: Final = 100


class EventRetention:
    """Makes rollups of old events, and forgets old rollups."""

    def __init__(self, folding: Folding, writer: Writer, readers: Readers, path: str) -> None:
        self._folding = folding
        self._writer = writer
        self._readers = readers
        self._path = path
        self._deleted_blocks = Portion(DELETE_BLOCKS)

    async def roll_up(self, before_us: int, rest: Rest = trio.lowlevel.checkpoint) -> int:
        """Roll the oldest segment up if all its events are before ``before_us``.

        Returns how many events that were, 0 if there is no such segment: call it again until then.
        Raises ``StoreUnavailable``, after which it may be tried again, and ``StoreCorrupt``.
        """
        segment = await self._readers.run("find old events", oldest_segment)
        if segment is None or segment.greatest_us >= before_us:
            return 0
        await self._folding.settle(rest)  # what is removed must be in the totals of its series
        await self._delete_unowned(rest)
        await self._insert_rollups(segment, rest)
        await self._writer.run(
            "exchange events for rollups",
            partial(exchange, segment),
            must_go_on=True,
            may_be_redone=True,
        )
        await self._folding.settle(rest)
        return segment.events

    async def forget_rollups(self, before_us: int, rest: Rest = trio.lowlevel.checkpoint) -> int:
        """Delete rollups of segments that ended before ``before_us``; return how many segments."""
        forgotten = 0
        forget = partial(forget_rolled_up, before_us, FORGET_SEGMENTS)
        while count := await self._writer.run(
            "forget rollups", forget, must_go_on=True, may_be_redone=True
        ):
            forgotten += count
            await self._delete_unowned(rest)
        return forgotten

    async def missing_behind(self, position: int) -> int:
        """Return how many entries behind ``position`` in the log are gone."""
        return await self._readers.run("measure the event log", partial(_missing, position))

    async def _insert_rollups(self, segment: Segment, rest: Rest) -> None:
        draft = _Draft()
        after: tuple[int, int] = (-1, -1)
        while True:
            read = partial(_read_blocks, segment.first_position, after)
            rows = await self._readers.run("read old events", read)
            blocks = await self._readers.compute(partial(self._add, draft, rows))
            await self._insert(segment, blocks)
            await rest()
            if not rows:
                return
            after = rows[-1][:2]

    def _add(
        self, draft: _Draft, rows: Sequence[tuple[int, int, bytes]]
    ) -> Sequence[PackedRollups]:
        """Return the blocks of rollups that are full with the events of ``rows``.

        Without rows, what is left.
        """
        if not rows:
            return list(draft.finish())
        packed: list[PackedRollups] = []
        for _, id_, body in rows:
            try:
                packed += draft.take(StoredBlock(id_, body))
            except (BadEntry, IndexError) as error:
                raise corrupt(self._path, f"block {id_} of the folded events: {error}") from error
        return packed

    async def _insert(self, segment: Segment, blocks: Sequence[PackedRollups]) -> None:
        for block in blocks:
            await self._writer.run(
                "store rollups",
                partial(insert_rollups, segment.first_position, [block]),
                wal_bytes=DEFAULT_WAL_BYTES + len(block.body),
                must_go_on=True,
                may_be_redone=True,
            )

    async def _delete_unowned(self, rest: Rest) -> None:
        """Delete what a roll-up that was interrupted, or forgetting, has left."""
        for segment in await self._readers.run("find unused rollups", unowned_segments):
            await self._writer.run_in_portions(
                "delete rollups", partial(delete_rollups, segment), self._deleted_blocks, rest
            )


class _Draft:
    """Rollups on their way into blocks. Raw blocks come in ascending order of series."""

    def __init__(self) -> None:
        self._runs: list[RollupRun] = []
        self._count = 0

    def take(self, block: StoredBlock) -> Iterator[PackedRollups]:
        """Take the events of a raw block, and yield blocks that are full."""
        from alertd.store.block_codec import Block  # needs NumPy

        raw = Block(block.body)
        times_us, values = raw.times_us.tolist(), raw.values.tolist()
        runs = (raw.series_ids.tolist(), raw.runs.starts.tolist(), raw.runs.ends.tolist())
        for series_id, start, end in zip(*runs, strict=True):
            if self._count >= BLOCK_ROLLUPS:
                yield from self.finish()
            rollups = roll_up(times_us[start:end], values[start:end])
            self._runs.append(RollupRun(series_id, rollups))
            self._count += len(rollups)

    def finish(self) -> Iterator[PackedRollups]:
        """Yield what is left as a block, if there is anything."""
        runs, self._runs, self._count = self._runs, [], 0
        if runs:
            yield pack_rollups(runs)


def _missing(position: int, connection: apsw.Connection) -> int:
    """Count what is gone: what was folded and is in no segment, but for changes of rules."""
    segment = oldest_segment(connection)
    gone = folded_position(connection) if segment is None else segment.first_position - 1
    left: int = connection.execute(
        "SELECT count(*) FROM event_log WHERE position > ? AND position <= ? AND kind = 'rules'",
        (position, gone),
    ).get
    return max(0, gone - position - left)


def _read_blocks(
    segment: int, after: tuple[int, int], connection: apsw.Connection
) -> list[tuple[int, int, bytes]]:
    """Return the next blocks of a segment behind ``after`` (last series, id), in that order."""
    rows = connection.execute(
        "SELECT last_series, id, body FROM blocks WHERE segment = ? "
        "AND (last_series, id) > (?, ?) ORDER BY last_series, id LIMIT ?",
        (segment, *after, READ_BLOCKS),
    )
    return [(last_series, id_, body) for last_series, id_, body in rows]

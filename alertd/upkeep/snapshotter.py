"""The engine's state as bytes, and when it is written down.

Owns the form of a snapshot's payload (a stream of msgpack items: the dedup index, then the
engine's own dump) and the rhythm in which snapshots are taken. Leaves the file, its checksum
and its durability to ``store/snapshots.py``, and the reading of it at start to ``recovery.py``.

Invariants: a snapshot holds the state at one position of the log. Judging goes on while it is
packed, a slice at a time (``engine/dump.py``); only where the rules change meanwhile it is packed
again while nothing is judged, so that many changes in a row cannot put it off for ever. What a
snapshot rests on is on the disk before it is, with ``relaxed`` durability too.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, cast

import msgpack
import msgspec
import structlog
import trio

from alertd.blocking import Blocking
from alertd.clock import Clock
from alertd.engine.dump import Dump, DumpEnded
from alertd.engine.engine import Engine
from alertd.errors import AlertdError
from alertd.ingest.dedup import DedupIndex
from alertd.metrics import Metrics
from alertd.pipeline.evaluator import Evaluator
from alertd.store.snapshots import write_snapshot
from alertd.turn import others, rest

PACK_SLICE_BYTES: Final = 32 * 1024
"""State that is packed between two rests: half a millisecond."""
LOOK_EVERY_S: Final = 1.0
"""How often it is looked how many events have come."""

log = structlog.get_logger(__name__)


class SnapshotUnusable(AlertdError):
    """A snapshot's checksum is right, but this version of alertd cannot read its state."""


class Snapshotter:
    """Takes a snapshot every ``interval_s`` if anything has happened since the last one.

    After ``every_events`` events it is taken earlier: so many are replayed at a start at most, and
    what came in a few seconds more.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        dedup: DedupIndex,
        folder: Path,
        clock: Clock,
        metrics: Metrics,
        blocking: Blocking,
        *,
        interval_s: float,
        every_events: int,
        position: int,
        has_room: Callable[[], bool] = lambda: True,
        make_durable: Callable[[], None] = lambda: None,
    ) -> None:
        self.position = position
        """Position of the newest snapshot."""
        self.taken_us: int | None = None
        """When it was taken; None if it was there at start."""
        self._evaluator = evaluator
        self._dedup = dedup
        self._folder = folder
        self._clock = clock
        self._metrics = metrics
        self._blocking = blocking
        self._has_room = has_room
        self._make_durable = make_durable
        self._interval_s = interval_s
        self._transitions = 0
        """How many the evaluator had seen when the newest snapshot was taken."""
        self._every_events = every_events
        self._is_ending = False
        self._taking = trio.Lock()  # the last one, at the end, may meet one of ``run``'s

    async def run(self) -> None:
        """Take snapshots until cancelled."""
        while True:
            await self._until_due()
            await self._take_if_there_is_room()

    async def _until_due(self) -> None:
        due_s = trio.current_time() + self._interval_s
        due_events = self._evaluator.judged_events + self._every_events
        while (left_s := due_s - trio.current_time()) > 0:
            if self._evaluator.judged_events >= due_events:
                return
            await trio.sleep(min(left_s, LOOK_EVERY_S))

    async def take(self) -> None:
        """Take the last one, now, unless nothing has happened since the newest one.

        Whoever stops waits for it, so neither it nor one that is under way rests any more.
        """
        self._is_ending = True
        await self._take_if_there_is_room()

    async def _take_if_there_is_room(self) -> None:
        """Take a snapshot, unless nothing has happened since the newest one.

        What was found when no event came, by the clock alone, is told once because a snapshot has
        it. One that cannot be written is logged and does no harm: the log behind the older ones
        is longer then. On a full disk none is tried: it could take the room of what must go on.
        """
        if not self._has_room():
            log.warning("snapshot left out: the disk is full; the older ones and the log remain")
            return
        async with self._taking:
            await self._take()

    async def _take(self) -> None:
        began_s = trio.current_time()
        async with self._evaluator.between_steps:
            position, transitions = self._evaluator.applied, self._evaluator.transitions
            if (position, transitions) == (self.position, self._transitions):
                return
            dump = self._evaluator.engine.dump()
        try:
            chunks = await self._pack(dump, rests=True)
        except DumpEnded:
            async with self._evaluator.between_steps:
                position, transitions = self._evaluator.applied, self._evaluator.transitions
                chunks = await self._pack(self._evaluator.engine.dump(), rests=False)
        await self._evaluator.mark_applied(position)
        try:
            await self._blocking.run(partial(self._write, position, chunks))
        except OSError as error:
            log.warning("snapshot not written; the older ones and the log remain", error=str(error))
            return
        self.position, self.taken_us = position, self._clock.now_us()
        self._transitions = transitions
        size_bytes = sum(map(len, chunks))
        self._metrics.snapshot_bytes.set(size_bytes)
        log.debug(
            "snapshot taken",
            position=position,
            bytes=size_bytes,
            seconds=round(trio.current_time() - began_s, 3),
        )

    async def _pack(self, dump: Dump, *, rests: bool) -> list[bytes]:
        """Return the packed state. Raises ``DumpEnded``."""
        chunks = []
        for chunk in pack_state(dump, self._dedup):
            chunks.append(chunk)
            await (rest() if rests and not self._is_ending else others())
        return chunks

    def _write(self, position: int, chunks: Iterable[bytes]) -> None:
        # It knows incidents that are recorded and ids that were accepted. If the power took
        # those and left the snapshot, nobody would be told, and what is sent again be refused.
        self._make_durable()
        write_snapshot(self._folder, position, chunks)


def pack_state(dump: Dump, dedup: DedupIndex) -> Iterator[bytes]:
    """Yield the state as msgpack, some ``PACK_SLICE_BYTES`` at a time. Raises ``DumpEnded``."""
    packer = msgpack.Packer(autoreset=False, use_bin_type=True)
    with _no_collection():
        for items in (dedup.dump(), dump):
            for item in items:
                packer.pack(item)
                if len(packer.getbuffer()) >= PACK_SLICE_BYTES:
                    yield packer.bytes()
                    packer.reset()
    yield packer.bytes()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Put Python's search for cyclic garbage off until the end of the block.

    The many tuples of a dump would set it off, and then everybody waits while it walks over the
    whole state: half a second with 100,000 groups.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def unpack_state(chunks: Iterable[bytes], engine: Engine, dedup: DedupIndex) -> None:
    """Load what ``pack_state`` yielded into an empty engine and index.

    Raises ``SnapshotUnusable`` if it is not such a state; both are then in an undefined state.
    """
    try:
        engine.load(_engine_items(chunks, dedup))
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise SnapshotUnusable(str(error)) from error


def _engine_items(chunks: Iterable[bytes], dedup: DedupIndex) -> Iterator[object]:
    """Yield the engine's part of a snapshot, and give the dedup index its own on the way."""
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=0, strict_map_key=False)
    for chunk in chunks:
        unpacker.feed(chunk)
        for item in unpacker:
            if cast("tuple[object, ...]", item)[0] == "ids":
                _, received_us, joined = msgspec.convert(item, tuple[str, int, bytes])
                dedup.load_piece(received_us, joined)
            else:
                yield item

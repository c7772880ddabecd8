"""Start-up: from what is on disk to the state as it was.

Owns the order: the series, the newest good snapshot, then the log behind its position, through
the same engine and the same recording as live. What the log up to ``meta.applied_position`` led to
was recorded in its time, and may have been forgotten since: it is not recorded again. Of what lies
behind, ids are functions of content: what had been recorded before the stop stays as it is.

Invariant: afterwards the engine has seen every position up to ``applied``, each once.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio
from msgspec import Struct

from alertd.engine.engine import Engine
from alertd.engine.inputs import Doubt, Tick
from alertd.ingest.dedup import DedupIndex
from alertd.ingest.series import SeriesRegistry
from alertd.model import EventBatch, Incident, IncidentSeries, Series, Transition
from alertd.notify.announce import Announcer
from alertd.pipeline.backfill import start_warm
from alertd.pipeline.evaluator import announced, foresee, rules_changed
from alertd.rules import RuleChange
from alertd.store.failures import StoreCorrupt
from alertd.store.files import FILES, Files
from alertd.store.protocols import LogEntry
from alertd.store.snapshots import newest_snapshot
from alertd.store.store import Store
from alertd.upkeep.snapshotter import SnapshotUnusable, unpack_state

log = structlog.get_logger(__name__)

RECORD_EVERY: Final = 1_000
"""Announcements that replay gathers before it records them."""
PART_ENTRIES: Final = 64
PART_EVENTS: Final = 5_000
"""Replay takes so much between two looks at other tasks, or one entry that is larger."""
PARTS_AHEAD: Final = 2
LOG_EVERY_EVENTS: Final = 1_000_000


class RejectedSnapshot(Struct, frozen=True):
    """A snapshot that was not used, and why."""

    file: str
    """Its name."""
    reason: str
    """What was wrong with it."""


@dataclass(slots=True)
class Recovered:
    """The state as it was, and how it was found; the numbers are shown in ``/api/status``."""

    engine: Engine
    registry: SeriesRegistry
    dedup: DedupIndex
    applied: int = 0
    received_us: int = 0
    """Receive time of the last entry of the log, or when the clock alone led to something later,
    or the time at which the snapshot was taken.

    Time goes on from there: what was judged by then must not be undone by events received before.
    """
    snapshot_position: int = 0
    rejected: list[RejectedSnapshot] = field(default_factory=list)
    """Newer snapshots that were passed over, the newest first."""
    replayed_entries: int = 0
    replayed_events: int = 0


async def recover(
    store: Store,
    announcer: Announcer,
    *,
    snapshots: Path,
    new_state: Callable[[], tuple[SeriesRegistry, DedupIndex]],
    on_progress: Callable[[str], None],
    files: Files = FILES,
) -> Recovered:
    """Rebuild the state from ``store`` and the snapshots in the folder ``snapshots``.

    ``new_state`` makes an empty registry and dedup index; ``on_progress`` is told now and then,
    in a phrase, how far it has come.
    """
    on_progress("reading the newest snapshot")
    end = await store.events.end()
    recovered = await _load_snapshot(store, snapshots, new_state, files, end=end.position)
    told_us = await store.incidents.told_us()
    recovered.received_us = max(end.received_us, told_us, recovered.engine.now_us)
    missing = await store.retention.missing_behind(recovered.applied)
    if missing:
        log.warning(
            "the log is replayed without what retention has removed: windows and groups from "
            "before are not known; incidents that are on are looked at again",
            snapshot=recovered.snapshot_position,
            missing_entries=missing,
        )
    is_certain = recovered.snapshot_position > 0 and not missing
    await _replay(
        recovered,
        store,
        announcer,
        on_progress,
        end=end.position,
        told_us=told_us,
        is_certain=is_certain,
    )
    log.info(
        "recovered",
        snapshot=recovered.snapshot_position,
        position=recovered.applied,
        replayed_events=recovered.replayed_events,
        series=len(recovered.registry),
        groups=recovered.engine.group_count(),
    )
    return recovered


async def _replay(
    recovered: Recovered,
    store: Store,
    announcer: Announcer,
    on_progress: Callable[[str], None],
    *,
    end: int,
    told_us: int,
    is_certain: bool,
) -> None:
    """Take what is behind the snapshot in the log, and record what is not recorded yet.

    If it is not certain that this leads to the state that was, that is held against what was told,
    up to ``told_us``, before anything is recorded.
    """
    recorded = await store.incidents.applied()
    is_certain = is_certain or not recorded  # where nothing was told there is nothing to be held
    pending: list[Transition] = []
    reported = 0
    async with _parts_of_log(store, recovered.applied) as parts:
        async for part in parts:
            for entry in part:
                found = await _apply(recovered, store, entry)
                if entry.position > recorded:
                    pending += found
                recovered.applied = entry.position
                if len(pending) >= RECORD_EVERY and is_certain:
                    await _record(store, announcer, pending, recovered.applied)
            recovered.replayed_entries += len(part)
            on_progress(_how_far(recovered, end))
            if recovered.replayed_events - reported >= LOG_EVERY_EVENTS:
                reported = recovered.replayed_events
                log.info("replaying the log", events=reported, position=recovered.applied)
                gc.collect()  # Python does not by itself (``interpreter.py``)
    if not is_certain:
        pending = await _without_doubtful(recovered, store, pending, told_us)
    await _record(store, announcer, pending, recovered.applied)


def _how_far(recovered: Recovered, end: int) -> str:
    """Say how much of the log is replayed, ``end`` being its last position."""
    done = recovered.applied - recovered.snapshot_position
    share = done / max(1, end - recovered.snapshot_position)
    return f"replaying the log: {recovered.replayed_events:,} events, {share:.0%}"


async def _without_doubtful(
    recovered: Recovered, store: Store, found: Sequence[Transition], told_us: int
) -> list[Transition]:
    """Hold the state against what was told; have the groups that differ judged again.

    Returns what is to be recorded of ``found``: what is about those groups is the reconciler's to
    tell, who goes by what was told.
    """
    engine = recovered.engine
    found = [*found, *engine.step(Tick(told_us))]  # what the clock had brought about by then
    told = _told_in_the_end(await store.incidents.told_open(), found)
    opened = {incident.id: incident for incident in engine.open_incidents()}
    doubt = Doubt(
        now_us=told_us,
        told=tuple(each for each in told.values() if each.id not in opened),
        found=tuple(each for each in opened.values() if each.id not in told),
    )
    in_doubt = {each.series for each in (*doubt.told, *doubt.found)}
    if in_doubt:
        log.warning(
            "the log leads to other incidents than were told: what was told counts, and these are "
            "judged again from the stored events",
            told=len(doubt.told),
            found=len(doubt.found),
        )
    certain = [
        transition
        for transition in found
        if IncidentSeries(transition.rule.id, transition.group) not in in_doubt
    ]
    return [*certain, *engine.step(doubt)]


@asynccontextmanager
async def _parts_of_log(
    store: Store, after: int
) -> AsyncIterator[trio.MemoryReceiveChannel[list[LogEntry]]]:
    """Have the log read ahead of whoever takes its parts; what goes wrong is raised as it is."""
    send, parts = trio.open_memory_channel[list[LogEntry]](PARTS_AHEAD)
    try:
        async with trio.open_nursery() as nursery, parts:
            nursery.start_soon(_read_ahead, store, after, send)
            yield parts
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group  # the other task was cancelled for it


async def _read_ahead(
    store: Store, after: int, send: trio.MemorySendChannel[list[LogEntry]]
) -> None:
    """Read the log in parts, so that the next ones are decoded while one is judged."""
    part: list[LogEntry] = []
    events = 0
    async with send, aclosing(store.events.replay(after)) as entries:
        async for entry in entries:
            part.append(entry)
            events += len(entry.body) if isinstance(entry.body, EventBatch) else 0
            if len(part) >= PART_ENTRIES or events >= PART_EVENTS:
                await send.send(part)
                part, events = [], 0
        if part:
            await send.send(part)


async def _load_snapshot(
    store: Store,
    folder: Path,
    new_state: Callable[[], tuple[SeriesRegistry, DedupIndex]],
    files: Files,
    *,
    end: int,
) -> Recovered:
    """Return the state of the newest snapshot that can be read, or an empty one.

    One from behind ``end``, the last position of the log, is not of this log.
    """
    all_series = await store.events.all_series()
    passed_over: list[RejectedSnapshot] = []
    older_than: Path | None = None
    while True:
        find = partial(newest_snapshot, folder, not_after=end, older_than=older_than, files=files)
        found = await store.blocking.run(find)
        for rejected in found.rejected:
            _pass_over(passed_over, rejected.path, rejected.reason)
        recovered = await store.blocking.run(partial(_empty, all_series, new_state))
        snapshot = found.snapshot
        recovered.rejected = passed_over
        if snapshot is None:
            return recovered
        try:
            unpack = partial(unpack_state, snapshot.chunks(), recovered.engine, recovered.dedup)
            await store.blocking.run(unpack)  # beside the loop, which answers requests meanwhile
        except (SnapshotUnusable, StoreCorrupt, OSError) as error:
            _pass_over(passed_over, snapshot.path, str(error))
            older_than = snapshot.path
        else:
            recovered.applied = recovered.snapshot_position = snapshot.position
            return recovered


def _pass_over(passed_over: list[RejectedSnapshot], path: Path, reason: str) -> None:
    log.warning("snapshot rejected", file=path.name, reason=reason)
    passed_over.append(RejectedSnapshot(path.name, reason))


def _empty(
    all_series: Iterable[Series], new_state: Callable[[], tuple[SeriesRegistry, DedupIndex]]
) -> Recovered:
    registry, dedup = new_state()
    registry.load(all_series)
    return Recovered(Engine(registry.get), registry, dedup)


async def _apply(recovered: Recovered, store: Store, entry: LogEntry) -> list[Transition]:
    body = entry.body
    if isinstance(body, RuleChange):
        return [
            *recovered.engine.step(rules_changed(body)),
            *await start_warm(
                recovered.engine,
                store.events,
                series_count=len(recovered.registry),
                at_us=body.at_us,
                position=entry.position,
            ),
        ]
    recovered.replayed_events += len(body)
    recovered.dedup.remember(body, recovered.registry.get)
    return recovered.engine.step(body)


def _told_in_the_end(
    told_open: Iterable[Incident], found: Iterable[Transition]
) -> dict[str, Incident]:
    """Return what is open by what was told once ``found`` is recorded as well."""
    told = {incident.id: incident for incident in told_open}
    for transition in found:
        incident = transition.incident
        if incident is None:
            continue
        if incident.ended_us is None:
            told[incident.id] = incident
        else:
            told.pop(incident.id, None)
    return told


async def _record(
    store: Store, announcer: Announcer, pending: list[Transition], applied: int
) -> None:
    """Record what replay found; what had been recorded before stays as it is."""
    await foresee(pending, announcer)
    announcements = await announced(pending, announcer)
    pending.clear()
    if announcements:
        await store.incidents.record(announcements, applied=applied)

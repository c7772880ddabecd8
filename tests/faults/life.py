"""The life of a store as a list of steps, and what must be in the store after it.

A step is one call of the store's own code. Which of them were acknowledged decides what must be
found when the file is opened again: exactly what a sound disk holds after just those steps. Steps
are functions of nothing but their place in the list, so that can be tried.
"""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import Final, TypeAlias, TypeVar, cast

import apsw
import msgspec
import trio

from alertd.errors import AlertdError, StoreUnavailable
from alertd.ingest.idempotency import AnsweredRequest, RequestId
from alertd.model import EventBatch, RefusalReason
from alertd.outbound import DeliveryStatus
from alertd.store.connection import Durability
from alertd.store.entry_codec import encode_batch, encode_change
from alertd.store.event_log import LogReader
from alertd.store.incident_query import HistoryQuery
from alertd.store.quarantine import RefusedEvent
from alertd.store.readers import Readers
from alertd.store.rollup_codec import decode_rollups
from alertd.store.series_table import read_totals
from alertd.store.store import Store, open_store
from alertd.store.writer import CommitUncertain
from tests.faults.inline import Inline
from tests.unit.store.store_samples import (
    START_US,
    batch,
    change,
    firing,
    record,
    replayed,
    resolved,
    series,
    settlement,
)

FORMS: Final = frozenset(
    {"event_log", "segments", "blocks", "series", "folded_position", "counted_block", "rollups"}
)
"""Where events are in one form or the other, and how far each is to be read."""

T = TypeVar("T")
Step: TypeAlias = "Callable[[Store], Awaitable[object]]"
Content: TypeAlias = "dict[str, list[tuple[object, ...]]]"

FOLD_EVENTS: Final = 2000
LONG_AFTER_US: Final = START_US + 5_000
"""Later than the first incident of a life and all that was told of it; earlier than the second."""
LATER_US: Final = 1 << 62
"""By then everything is old."""


@dataclass
class Story:
    """How the steps of one life ended, by their number."""

    acknowledged: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    uncertain: list[int] = field(default_factory=list)
    halfway: list[int] = field(default_factory=list)
    """Those of several transactions that were refused: the one that counts may have been done."""
    under_way: int | None = None
    """The step that has not ended yet."""
    opening: AlertdError | None = None
    """Why the store could not be opened."""

    def check(self) -> None:
        """Raise ``AssertionError`` if the writer went on after an uncertain commit."""
        if self.uncertain:
            late = [step for step in self.acknowledged if step > self.uncertain[0]]
            assert not late, f"steps {late} were acknowledged after an uncertain commit"

    def possible(self) -> list[tuple[int, ...]]:
        """Return which steps may be found in the file: those acknowledged, and perhaps others."""
        sure = self.acknowledged
        open_ends = self.uncertain[:1] if self.under_way is None else [self.under_way]
        unsure = [step for step in (*self.halfway, *open_ends) if step not in sure]
        some = (combinations(unsure, count) for count in range(len(unsure) + 1))
        return [tuple(sorted((*sure, *more))) for more in chain.from_iterable(some)]


async def live(
    path: Path,
    steps: Sequence[Step],
    story: Story,
    *,
    only: Sequence[int],
    durability: Durability = Durability.FULL,
) -> None:
    """Open the store, take the steps ``only``, close it; write into ``story`` how each ended.

    Every error but those that the store may raise ends the test. All is done in one thread, so
    the disk sees the same calls in the same order each time.
    """
    try:
        async with open_store(path, durability=durability, blocking=Inline()) as store:
            for number in only:
                story.under_way = number
                await _take(store, number, steps[number], story)
                story.under_way = None
    except AlertdError as error:
        story.opening = error
    story.check()


async def _take(store: Store, number: int, step: Step, story: Story) -> None:
    try:
        await step(store)
    except StoreUnavailable:
        story.refused.append(number)
        if step in IN_PORTIONS:
            story.halfway.append(number)
    except CommitUncertain:
        story.uncertain.append(number)
    else:
        if step is not read_all:
            story.acknowledged.append(number)


# ---- steps


def append(size: int, *, known: int = 3, new: int = 0, ids: bool = False) -> Step:
    """Append two batches, one of ``size``, over the ``known`` series and ``new`` ones."""
    numbers = array("I", (place % (known + new) for place in range(size)))
    names = tuple(f"{size}-{place}" for place in range(size)) if ids else None
    large = msgspec.structs.replace(batch(size, ids=names), series_ids=numbers)
    batches = [large, batch(1, received_us=START_US + size)]
    return lambda store: store.events.append(batches, series(new, first=known))


def append_answered(key: bytes) -> Step:
    """Append an event that came in a request with a key."""
    request = AnsweredRequest(RequestId(key * 32, b"b" * 32), START_US, b'{"accepted":1}')
    return lambda store: store.events.append([batch(1)], [], [request])


def change_rule(version: int) -> Step:
    """Make a rule, or edit it."""
    return lambda store: store.rules.apply(change(record(version=version)))


def record_firing(start_us: int, applied: int) -> Step:
    """Record an incident and its notification."""
    return lambda store: store.incidents.record([firing(start_us)], applied=applied)


def record_end(start_us: int, applied: int) -> Step:
    """Record that the incident has ended."""
    ended = resolved(firing(start_us))
    return lambda store: store.incidents.record([ended], applied=applied)


def settle_firing(start_us: int, status: DeliveryStatus) -> Step:
    """Record an attempt to tell of the incident."""
    (notification,) = firing(start_us).notifications
    return lambda store: store.outbox.settle([settlement(notification, status)])


def quarantine(count: int) -> Step:
    """Keep refused events."""
    events = [
        RefusedEvent(
            received_us=START_US + place,
            reason=RefusalReason.TOO_OLD,
            path=f"/{place}",
            message="no",
            event="{}" * 40,
        )
        for place in range(count)
    ]
    return lambda store: store.quarantine.add(events)


def settle_end(start_us: int) -> Step:
    """Record that somebody was told of the incident's end."""
    (notification,) = resolved(firing(start_us)).notifications
    return lambda store: store.outbox.settle([settlement(notification, DeliveryStatus.SUCCESS)])


async def forget(store: Store) -> None:
    """Prune refused events that have had their time."""
    await store.quarantine.prune(before_us=START_US + 3)


async def forget_incidents(store: Store) -> None:
    """Prune incidents that have had their time, with all that was told of them."""
    await store.incidents.prune(before_us=LONG_AFTER_US)


async def forget_requests(store: Store) -> None:
    """Prune the keys of requests."""
    await store.requests.prune(before_us=0, max_rows=1)


async def fold(store: Store) -> None:
    """Fold some of the log. It is several transactions, and none of them changes what is held."""
    await store.folding.fold(FOLD_EVENTS)


async def settle_folding(store: Store) -> None:
    """Do what an interrupted folding left to do."""
    await store.folding.settle()


async def retire(store: Store) -> None:
    """Make rollups of the oldest segment, if there is one; it writes in any case."""
    await store.folding.settle()
    await store.retention.roll_up(LATER_US)


async def forget_rollups(store: Store) -> None:
    """Delete all rollups."""
    await store.retention.forget_rollups(LATER_US)


async def give_back(store: Store) -> None:
    """Make the file shorter by what is free in it."""
    while await store.space.give_back():
        pass


IN_PORTIONS: Final[frozenset[Step]] = frozenset({fold, retire, forget_rollups, give_back})
"""Steps of several transactions, of which one at most changes what is held."""


async def read_all(store: Store) -> None:
    """Read in every way that the daemon reads."""
    await replayed(store)
    _ = [part async for part in store.events.read({0, 1}, 0, START_US)]
    await store.outbox.claim(START_US + 100, limit=10)
    await store.outbox.counts()
    await store.incidents.history(HistoryQuery())
    await store.rules.all()
    await store.events.all_series()


LIFE: Final[tuple[Step, ...]] = (
    append(3, known=0, new=3, ids=True),
    append(400, new=2),
    change_rule(1),
    record_firing(START_US, 1),
    append(2500, known=5, new=20),
    settle_firing(START_US, DeliveryStatus.RETRY_PENDING),
    quarantine(12),
    append_answered(b"k"),
    *(append(size, ids=size % 2 == 0) for size in range(900, 905)),
    change_rule(2),
    record_end(START_US, 9),
    read_all,
    settle_firing(START_US, DeliveryStatus.SUCCESS),
    append_answered(b"l"),
    fold,
    forget,
    retire,
    settle_end(START_US),
    *(append(size) for size in range(1200, 1206)),
    forget_incidents,
    forget_requests,
    fold,
    retire,
    give_back,
    record_firing(START_US + 9_000, 20),
    forget_rollups,
    append(7, known=25, new=1),
)
"""Long enough that the WAL is checkpointed and begun again more than once."""


# ---- files


def content(path: Path) -> Content:
    """Open the file as any program would, check it whole, and return what it holds.

    The log is there as a replay reads it, whether its entries are folded or not, the rollups that
    count, and the series with what is said of them; every other table row by row. What is watched
    or made to fail is not seen by that program.
    """
    connection = apsw.Connection(str(path), vfs="unix")
    try:
        findings = connection.execute("PRAGMA integrity_check").fetchall()
        assert findings == [("ok",)], findings
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        ).fetchall()
        held = {
            str(name): sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)  # noqa: S608
            for (name,) in tables
            if name not in FORMS
        }
        held["meta"] = [row for row in held["meta"] if row[0] not in FORMS]
        held["sqlite_sequence"] = [row for row in held["sqlite_sequence"] if row[0] not in FORMS]
        held["version"] = [(connection.pragma("user_version"),)]
        held["log"] = list(_log(path, connection))
        held["rollups"] = sorted(
            (segment, *run)
            for segment, body in connection.execute(
                "SELECT segment, body FROM rollups JOIN rolled_up USING (segment)"
            )
            for run in decode_rollups(body)
        )
        series = {
            int(number): tuple(rest)
            for number, *rest in connection.execute("SELECT id, metric_name, labels FROM series")
        }
        held["series"] = [
            (number, *series[number], *msgspec.structs.astuple(totals))
            for number, totals in sorted(read_totals(str(path), series, connection).items())
        ]
        return held
    finally:
        connection.close()


def _log(path: Path, connection: apsw.Connection) -> Iterator[tuple[object, ...]]:
    """Yield the entries of the log, each as what was acknowledged of it."""
    readers = _OneReader(connection)
    entries = LogReader(cast("Readers", readers), str(path)).replay(0)
    while True:
        try:
            entry = _at_once(anext(entries))
        except StopAsyncIteration:
            return
        if isinstance(entry.body, EventBatch):
            yield entry.position, entry.body.received_us, encode_batch(entry.body)
        else:
            yield entry.position, entry.body.at_us, encode_change(entry.body)


class _OneReader:
    """The store's readers with one connection, for whoever does not wait."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    async def run(self, _operation: str, work: Callable[[apsw.Connection], T]) -> T:
        return work(self._connection)

    async def compute(self, work: Callable[[], T]) -> T:
        return work()


def _at_once(awaitable: Awaitable[T]) -> T:
    """Return what ``awaitable`` gives, which waits for nothing."""
    try:
        awaitable.__await__().send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


def copy_files(path: Path, folder: Path) -> Path:
    """Copy the database and its WAL as they are on the disk now; the rest is memory."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-journal"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            shutil.copyfile(file, folder / file.name)
    return folder / path.name


class Expectations:
    """What a sound disk holds after given steps, worked out once each."""

    def __init__(self, folder: Path, begun: Path | None, steps: Sequence[Step]) -> None:
        """``begun`` is the file that every life begins with, None if there is none."""
        self._folder = folder
        self._begun = begun
        self._steps = steps
        self._known: dict[tuple[int, ...], Content] = {}

    def after(self, steps: tuple[int, ...]) -> Content:
        """Return the content after just ``steps``."""
        if steps not in self._known:
            folder = self._folder / f"expected-{len(self._known)}"
            folder.mkdir(parents=True)
            path = folder / "alertd.db"
            if self._begun is not None:
                copy_files(self._begun, folder)
            story = Story()
            trio.run(partial(live, path, self._steps, story, only=steps))
            assert story.acknowledged == list(steps), story
            self._known[steps] = content(path)
            shutil.rmtree(folder)
        return self._known[steps]

    def check(self, path: Path, story: Story) -> None:
        """Raise ``AssertionError`` if ``path`` does not hold what ``story`` acknowledged.

        The store opens it first, as the daemon does when it is started again, and goes on with a
        folding that was interrupted.
        """
        again = Story()
        trio.run(partial(live, path, [settle_folding], again, only=[0]))
        assert again.acknowledged == [0], again
        found = content(path)
        if not any(found == self.after(steps) for steps in story.possible()):
            wanted = self.after(story.possible()[0])
            tables = [name for name in wanted if found.get(name) != wanted[name]]
            raise AssertionError(f"{tables} are not what was acknowledged by {story}")

"""Recovery gives the same state from any snapshot, and dying in it at any step changes nothing.

A random log of events and rule changes is written; what one recovery of the whole of it finds,
byte for byte, is what must be found from a snapshot at any place in it, and by whoever recovers
after a recovery that was killed. ``ALERTD_RECOVERY_SEEDS`` is how many logs are tried;
``pytest -k seed-17`` tries one again.
"""

from __future__ import annotations

import os
import shutil
from array import array
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import BinaryIO, Final, TypeVar, cast

import msgspec
import pytest
import trio

from alertd.config.settings import Config
from alertd.delivery.notifier import load_policy
from alertd.model import EventBatch, RuleType, Series, Target
from alertd.notify.announce import Announcer
from alertd.outbound import DeliveryStatus
from alertd.rules import RuleChange
from alertd.store.event_log import EventLog
from alertd.store.files import FILES, Files
from alertd.store.protocols import LogEntry
from alertd.store.snapshots import snapshots_folder, write_snapshot
from alertd.store.store import open_store
from alertd.upkeep import recovery
from alertd.upkeep.recovery import recover
from alertd.upkeep.snapshotter import pack_state
from tests.faults.inline import Inline, InlineWorker
from tests.faults.life import Content, content, copy_files
from tests.unit.parts import SECOND, new_state, record_of
from tests.unit.store.store_samples import START_US, seen_by_another, settlement

SEEDS: Final = int(os.environ.get("ALERTD_RECOVERY_SEEDS", "200"))
KILLED_SEEDS: Final = max(5, SEEDS // 40)
HOSTS: Final = ("a", "b", "c")
SERIES: Final = [Series(number, "m", (("host", host),)) for number, host in enumerate(HOSTS)]
OPS: Final = Target("ops")
CONFIG: Final = Config()

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What a recovery leaves behind."""

    state: bytes
    held: Content
    from_snapshot: int


@pytest.fixture(autouse=True, scope="module")
def record_often() -> Iterator[None]:
    """Have a recovery record what it finds in many small portions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery, "RECORD_EVERY", 2)
        yield


@pytest.mark.parametrize("seed", range(SEEDS), ids="seed-{}".format)
def test_a_snapshot_anywhere_and_the_log_behind_it_give_what_the_whole_log_gives(
    seed: int, memory_folder: Path
) -> None:
    chance = Random(seed)  # noqa: S311  # not a secret
    length = chance.randrange(5, 25)
    written = write_log(chance, length, fresh(memory_folder / "written"))
    whole = recover_at(copy_store(written, memory_folder / "whole"))
    path = copy_store(written, memory_folder / "stopped")
    place = 0
    while (place := place + chance.randrange(1, 9)) <= length:
        stopped = recover_at(path, until=place)
        write_snapshot(snapshots_folder(path), place, [stopped.state])
        again = recover_at(copy_store(path, memory_folder / "again"))
        assert again.from_snapshot == place
        assert again.state == whole.state, f"from {place} of {length}"
        assert again.held == whole.held, f"from {place} of {length}"


@pytest.mark.parametrize("seed", range(KILLED_SEEDS), ids="seed-{}".format)
def test_dying_at_any_step_of_recovery_changes_nothing_and_tells_nobody_twice(
    seed: int, memory_folder: Path
) -> None:
    chance = Random(seed)  # noqa: S311
    begun = begin_and_die(chance, memory_folder)
    sent = sent_from(begun)
    whole = recover_at(copy_store(begun, memory_folder / "whole"))
    assert sent_from(memory_folder / "whole" / "alertd.db") == sent != set()
    for step in range(1, 1000):
        dying = Steps(step, memory_folder / "left")
        path = copy_store(begun, memory_folder / "dying")
        if not die_at(path, dying):
            assert step > 15
            return
        if chance.random() < 0.3:  # and once more, on the way from there
            path = copy_store(dying.left, memory_folder / "dying")
            dying = Steps(chance.randrange(1, step + 1), memory_folder / "left")
            if not die_at(path, dying):
                continue
        again = recover_at(dying.left)
        assert again.state == whole.state, f"died at step {step}"
        assert again.held == whole.held, f"died at step {step}"
        assert sent_from(dying.left) == sent, "what was sent is not sent again"
    pytest.fail("there is no end to the steps")


# ---- random logs


def write_log(chance: Random, length: int, path: Path) -> Path:
    """Write a log of so many entries, which nobody has judged yet."""

    async def write() -> None:
        async with open_store(path, blocking=Inline()) as store:
            await store.events.append([], SERIES)
            now_us = START_US
            for number in range(length):
                now_us += chance.choice((0, 1, SECOND, 3 * SECOND, 40 * SECOND))
                if number == 0 or chance.random() < 0.15:
                    await store.rules.apply(random_change(chance, now_us))
                else:
                    await store.events.append([random_batch(chance, now_us)], [])

    trio.run(write)
    return path


def random_change(chance: Random, now_us: int) -> RuleChange:
    rules = [
        msgspec.structs.replace(
            record_of(
                f"r{number}",
                type=chance.choice((RuleType.SIMPLE_COUNT, RuleType.MOVING_WINDOW)),
                threshold=chance.choice((0.0, 1.0, 2.0)),
                window_duration_secs=chance.choice((1.0, 5.0, 10.0)),
                group_by=chance.choice(((), ("host",))),
                for_secs=chance.choice((0.0, 0.0, 2.0)),
                keep_firing_secs=chance.choice((0.0, 0.0, 3.0)),
                allowed_lateness_secs=chance.choice((0.0, 5.0)),
                notifications=(OPS,),
            ),
            version=now_us,
        )
        for number in chance.sample(range(4), 2)
    ]
    return RuleChange(at_us=now_us, put=tuple(rules), deleted=())


def random_batch(chance: Random, now_us: int) -> EventBatch:
    size = chance.randrange(1, 6)
    places = range(size)
    late_us = (0, 0, SECOND, 4 * SECOND, 9 * SECOND, 60 * SECOND)
    return EventBatch(
        received_us=now_us,
        series_ids=array("I", [chance.randrange(len(SERIES)) for _ in places]),
        times_us=array("q", [now_us - chance.choice(late_us) for _ in places]),
        values=array("d", [chance.choice((0.0, 1.0, 3.5)) for _ in places]),
        ids=tuple(f"{now_us}-{place}" for place in places) if chance.random() < 0.3 else None,
    )


def begin_and_die(chance: Random, folder: Path) -> Path:
    """Return a store whose log goes on behind its snapshots and behind what was recorded and told.

    Of its two snapshots the newer one is damaged half of the time.
    """
    path = write_log(chance, 30, fresh(folder / "written"))
    snapshots = snapshots_folder(path)
    for place in (8, 14):
        file = write_snapshot(snapshots, place, [recover_at(path, until=place).state])
    if chance.random() < 0.5:
        file.write_bytes(file.read_bytes()[:-1])
    recover_at(path, until=20)

    async def tell() -> None:
        async with open_store(path, blocking=Inline()) as store:
            for message in await store.outbox.claim(1 << 62, limit=3):
                await store.outbox.settle(
                    [settlement(message, DeliveryStatus.SUCCESS, at_us=START_US)]
                )

    trio.run(tell)
    return path


# ---- recoveries, whole, cut short and killed


class Died(BaseException):
    """The process is gone."""


@dataclass
class Steps:
    """Counts what a recovery asks of store and snapshots, and dies before one of them."""

    place: int
    folder: Path
    seen: int = 0
    path: Path | None = None

    @property
    def left(self) -> Path:
        """The database as the dead process left it."""
        return self.folder / "alertd.db"

    def take(self) -> None:
        """Take a step."""
        self.seen += 1
        if self.seen == self.place:
            assert self.path is not None
            copy_store(self.path, self.folder)
            raise Died


class DyingInline(Inline):
    """The store's work; every call is a step."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self._steps = steps

    async def run(self, work: Callable[[], T], *, limiter: trio.CapacityLimiter | None = None) -> T:
        """Take a step, then do ``work``."""
        self._steps.take()
        return await super().run(work, limiter=limiter)

    def worker(self, name: str) -> InlineWorker:
        """Return a worker whose every piece of work is a step."""
        return InlineWorker(before_work=self._steps.take)


class DyingFiles(Files):
    """The files of snapshots; opening, reading and renaming one are steps."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def open(self, path: Path) -> BinaryIO:
        """Take a step, then open it."""
        self._steps.take()
        file = super().open(path)
        return cast("BinaryIO", SteppedFile(self._steps, file))

    def rename(self, path: Path, to: Path) -> None:
        """Take a step, then rename it."""
        self._steps.take()
        super().rename(path, to)


class SteppedFile:
    """A file of which each read is a step."""

    def __init__(self, steps: Steps, file: BinaryIO) -> None:
        self._steps = steps
        self._file = file

    def __enter__(self) -> SteppedFile:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        self._steps.take()
        return self._file.read(size)


class LogUntil:
    """A log that seems to end at a position."""

    def __init__(self, log: EventLog, until: int) -> None:
        self._log = log
        self._until = until

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    async def replay(self, after: int) -> AsyncGenerator[LogEntry, None]:
        """Yield what is not behind the end."""
        async with aclosing(self._log.replay(after)) as entries:
            async for entry in entries:
                if entry.position > self._until:
                    return
                yield entry


def die_at(path: Path, steps: Steps) -> bool:
    """Recover and die on the way; return whether it came to that."""
    steps.path = path
    try:
        recover_at(path, blocking=DyingInline(steps), files=DyingFiles(steps))
    except Died:
        return True
    return False


def recover_at(
    path: Path, *, until: int = 1 << 62, blocking: Inline | None = None, files: Files = FILES
) -> Outcome:
    """Return the outcome of a recovery, of the log up to ``until``."""

    async def run() -> tuple[bytes, int]:
        async with open_store(path, blocking=blocking or Inline()) as store:
            cut = replace(store, events=cast("EventLog", LogUntil(store.events, until)))
            announcer = Announcer("http://alertd.example", policy=await load_policy(store, CONFIG))
            recovered = await recover(
                cut,
                announcer,
                snapshots=snapshots_folder(path),
                new_state=new_state,
                on_progress=lambda phrase: None,
                files=files,
            )
            state = b"".join(pack_state(recovered.engine.dump(), recovered.dedup))
            return state, recovered.snapshot_position

    state, position = trio.run(run)
    return Outcome(state, found_in(path), position)


def found_in(path: Path) -> Content:
    """Return what is in the store but for what depends on where a recovery was cut short.

    That is how far was recorded when something was found last, and which notifications share a
    message: those of one commit do.
    """
    held = content(path)
    for table in ("meta", "messages", "attempts"):
        del held[table]
    held["timeline"] = [line for line in held["timeline"] if "queued" not in line]
    held["notifications"] = seen_by_another(
        path,
        "SELECT n.id, i.id, n.kind, n.channel, n.view "
        "FROM notifications n JOIN incidents i ON i.seq = n.incident_seq ORDER BY n.seq",
    )
    return held


def sent_from(path: Path) -> set[tuple[object, ...]]:
    """Return the notifications that were sent, and the messages that they were sent in."""
    return set(
        seen_by_another(
            path,
            "SELECT n.id, m.id, m.status, m.attempts, m.parts FROM notifications n "
            "JOIN messages m ON m.seq = n.message_seq WHERE m.status = 'SUCCESS'",
        )
    )


# ---- files


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder / "alertd.db"


def copy_store(path: Path, folder: Path) -> Path:
    """Copy the database, its WAL and its snapshots into an empty folder."""
    copy = fresh(folder)
    copy_files(path, folder)
    if snapshots_folder(path).exists():
        shutil.copytree(snapshots_folder(path), snapshots_folder(copy))
    return copy

"""A disk that fails at any call, or a process that dies there, costs nothing that was acknowledged.

Each case is a whole life of a store with one fault in it: at the n-th read, write, sync, … that
SQLite makes, once or from then on. Afterwards the file is opened on a sound disk: every row that
was acknowledged is there, byte for byte, nothing that was refused is, and the file is sound.

Places are tried in steps of ``ALERTD_FAULT_STRIDE`` (1 tries them all: ``make crash``). A case that
fails says how to run it alone: its place goes into ``ALERTD_FAULT_PLACE``.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import apsw
import pytest
import trio

from alertd.store.store import open_store
from tests.faults.disk import Call, Fault, FaultAt, Kind, Watcher, watched_by
from tests.faults.life import (
    LIFE,
    Expectations,
    Step,
    Story,
    append,
    copy_files,
    fold,
    live,
    read_all,
)
from tests.unit.store.store_samples import batch
from tests.unit.store.test_event_times_migration import ENTRIES, write_schema_1

STRIDE: Final = int(os.environ.get("ALERTD_FAULT_STRIDE", "20"))
ONLY_PLACE: Final = int(os.environ.get("ALERTD_FAULT_PLACE", "0"))

FAULTS: Final = {
    "unreadable": (Kind.READ, Fault(apsw.SQLITE_IOERR_READ)),
    "unwritable": (Kind.WRITE, Fault(apsw.SQLITE_IOERR_WRITE)),
    "half written": (Kind.WRITE, Fault(apsw.SQLITE_IOERR_WRITE, is_short=True)),
    "full": (Kind.WRITE, Fault(apsw.SQLITE_FULL)),
    "full in mid-write": (Kind.WRITE, Fault(apsw.SQLITE_FULL, is_short=True)),
    "not synced": (Kind.SYNC, Fault(apsw.SQLITE_IOERR_FSYNC)),
    "folder not synced": (Kind.SYNC, Fault(apsw.SQLITE_IOERR_DIR_FSYNC)),
    "full at sync": (Kind.SYNC, Fault(apsw.SQLITE_FULL)),
    "not cut": (Kind.TRUNCATE, Fault(apsw.SQLITE_IOERR_TRUNCATE)),
    "of no size": (Kind.SIZE, Fault(apsw.SQLITE_IOERR_FSTAT)),
    "not opened": (Kind.OPEN, Fault(apsw.SQLITE_CANTOPEN)),
    "not deleted": (Kind.DELETE, Fault(apsw.SQLITE_IOERR_DELETE)),
}

PART_STEPS: Final = 13
"""Steps of ``LIFE`` in one process; then it is killed. Short lives, for each is lived often."""

SHORT_LIFE: Final = (append(3, known=0, new=3), append(1000), fold, read_all, append(400, ids=True))


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is on the disk when a life begins, and the steps that it takes."""

    path: Path | None
    steps: Sequence[Step]
    expected: Expectations

    def live(self, watcher: Watcher, folder: Path, story: Story) -> Path:
        """Live the life in ``folder`` on a watched disk; return the path of the database."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path = folder / "alertd.db" if self.path is None else copy_files(self.path, folder)
        with watched_by(watcher):
            trio.run(partial(live, path, self.steps, story, only=range(len(self.steps))))
        return path


Begun: TypeAlias = "tuple[Path | None, Sequence[Step]]"
"""The file that a life begins with, if there is one, and the steps that it takes."""


def _nothing(_folder: Path) -> Begun:
    return None, LIFE[:PART_STEPS]


def _killed(steps: int, folder: Path) -> Begun:
    """A process was killed: all that it did is in the WAL, or being copied out of it."""

    async def be_killed(path: Path) -> Path:
        async with open_store(path) as store:
            for step in LIFE[:steps]:
                await step(store)
            return copy_files(path, folder / "left")

    (folder / "life").mkdir()
    begun = trio.run(be_killed, folder / "life" / "alertd.db")
    return begun, LIFE[steps : steps + PART_STEPS]


def _old(folder: Path) -> Begun:
    """The first alertd wrote the file: every migration runs."""
    write_schema_1(folder / "alertd.db", [*ENTRIES[:-1], (8, batch(300))])
    return folder / "alertd.db", SHORT_LIFE


BEGINNINGS: Final[dict[str, Callable[[Path], Begun]]] = {
    "nothing": _nothing,
    "a killed process": partial(_killed, PART_STEPS),
    "one killed while it retires": partial(_killed, 2 * PART_STEPS),
    "an old file": _old,
}


@pytest.fixture(scope="module", params=BEGINNINGS)
def beginning(request: pytest.FixtureRequest, memory_folder: Path) -> Beginning:
    folder = memory_folder / f"begun-{len(list(memory_folder.iterdir()))}"
    folder.mkdir()
    path, steps = BEGINNINGS[request.param](folder)
    return Beginning(path, steps, Expectations(folder / "expected", path, steps))


def places(last: int) -> Iterator[int]:
    """Yield the places to try of the ``last`` that there are, the first and the last among them."""
    if ONLY_PLACE:
        yield ONLY_PLACE
        return
    yield from range(1, last, STRIDE)
    yield last


@pytest.mark.parametrize("is_sticky", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_failing_disk_loses_nothing_that_was_acknowledged(
    beginning: Beginning, name: str, is_sticky: bool, memory_folder: Path
) -> None:
    kind, fault = FAULTS[name]
    sound = FaultAt(kind, 0, fault)
    beginning.live(sound, memory_folder / "case", Story())
    for place in places(sound.seen):
        watcher, story = FaultAt(kind, place, fault, is_sticky), Story()
        with case(place):
            path = beginning.live(watcher, memory_folder / "case", story)
            assert watcher.fired
            beginning.expected.check(path, story)


def test_a_process_that_dies_at_any_write_loses_nothing_that_was_acknowledged(
    beginning: Beginning, memory_folder: Path
) -> None:
    """The files are taken as they are just then, and once more with that write done by half."""
    sound = FaultAt(Kind.WRITE, 0, Fault(0))
    path = beginning.live(sound, memory_folder / "case", Story())
    for place in places(sound.seen):
        story = Story()
        death = Death(place, path, memory_folder / "left", story)
        with case(place):
            beginning.live(death, memory_folder / "case", story)
            assert death.before_it is not None
            beginning.expected.check(death.left, death.before_it)
            copy_files(death.left_by_half, death.left.parent)
            beginning.expected.check(death.left, death.before_it)


@dataclass
class Death:
    """A watcher that keeps what a process leaves behind that dies at its ``place``-th write."""

    place: int
    path: Path
    folder: Path
    story: Story
    before_it: Story | None = None
    """What had become of the steps by then."""
    seen: int = 0

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def left(self) -> Path:
        """The database as it was before the write."""
        return self.folder / "none" / self.path.name

    @property
    def left_by_half(self) -> Path:
        """The database with half of the write done."""
        return self.folder / "half" / self.path.name

    def before(self, call: Call) -> None:
        """Copy the files if this is the place."""
        self.seen += call.kind is Kind.WRITE
        if self.seen != self.place or self.before_it is not None:
            return
        copy_files(self.path, self.left.parent)
        copy_files(self.path, self.left_by_half.parent)
        if call.path:  # a temporary file has no name, and nobody sees it after the process's death
            with (self.left_by_half.parent / Path(call.path).name).open("r+b") as file:
                file.seek(call.offset)
                file.write(call.data[: len(call.data) // 2])
        self.before_it = copy.deepcopy(self.story)


@contextmanager
def case(place: int) -> Iterator[None]:
    """Have a failure in the block say how to run it again."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"to run this case alone: ALERTD_FAULT_PLACE={place}")
        raise

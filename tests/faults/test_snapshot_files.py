"""Snapshot files on a disk that fails, lies or loses power: whole, or never read as a state.

What can be wrong with a file is tried bit by bit on a real engine's state, in memory. What can go
wrong in the making of one is tried call by call on real files: each call fails, once or from
then on, or the process dies at it, or the power goes behind it.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import BinaryIO, Final, cast

import apsw
import pytest

from alertd.store import snapshots
from alertd.store.files import Files
from alertd.store.folders import sync_folder
from alertd.store.snapshots import newest_snapshot, write_snapshot
from alertd.upkeep.snapshotter import pack_state
from tests.faults.disk import Call, Kind
from tests.faults.power import Done, Platter
from tests.unit.engine.test_engine_snapshot import busy
from tests.unit.parts import new_state

DAMAGES: Final = int(os.environ.get("ALERTD_SNAPSHOT_DAMAGES", "20000"))
LOSSES_A_CALL: Final = 20
OLDER, OLD, NEW = 7, 8, 9
"""Positions: two snapshots are there when the third is written."""
SIZE: Final = 600
"""Less than a state has bytes."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot of these few bytes is made durable in several pieces, as a large one is."""
    monkeypatch.setattr(snapshots, "SYNCED_AT_ONCE_BYTES", SIZE // 3)


def a_state() -> list[bytes]:
    """Return an engine's state with windows, open incidents and timers in it, in pieces."""
    whole = b"".join(pack_state(busy().engine.dump(), new_state()[1]))
    assert len(whole) > SIZE
    return [whole[at : at + SIZE // 4] for at in range(0, len(whole), SIZE // 4)]


class OneFile(Files):
    """A file system with one file in it, whose bytes are these."""

    def __init__(self, held: bytes) -> None:
        self._held = held

    def open(self, path: Path) -> BinaryIO:
        """Open it."""
        return io.BytesIO(self._held)

    def rename(self, path: Path, to: Path) -> None:
        """Leave it where it is."""


def test_no_damage_to_a_snapshot_goes_unnoticed(tmp_path: Path) -> None:
    whole = write_snapshot(tmp_path, NEW, a_state()).read_bytes()
    assert newest_snapshot(tmp_path, files=OneFile(whole)).snapshot is not None
    chance = Random(1)  # noqa: S311  # not a secret
    for number in range(DAMAGES):
        damaged = DAMAGE[number % len(DAMAGE)](whole, chance)
        if damaged == whole:
            continue
        found = newest_snapshot(tmp_path, files=OneFile(damaged))
        assert found.snapshot is None, f"damage {number} went unnoticed"
        assert len(found.rejected) == 1


def flip_a_bit(whole: bytes, chance: Random) -> bytes:
    damaged, bit = bytearray(whole), chance.randrange(len(whole) * 8)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def flip_a_bit_of_the_header(whole: bytes, chance: Random) -> bytes:
    return flip_a_bit(whole[:64], chance) + whole[64:]


def cut_off(whole: bytes, chance: Random) -> bytes:
    return whole[: chance.randrange(len(whole))]


def lose_a_sector(whole: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(whole)) // 512 * 512
    lost = whole[at : at + 512]
    return (
        whole[:at]
        + chance.choice((bytes(len(lost)), chance.randbytes(len(lost))))
        + whole[at + 512 :]
    )


def add_something(whole: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(whole) + 1)
    return whole[:at] + chance.randbytes(chance.randrange(1, 9)) + whole[at:]


DAMAGE: Final[tuple[Callable[[bytes, Random], bytes], ...]] = (
    flip_a_bit,
    flip_a_bit,
    flip_a_bit_of_the_header,
    cut_off,
    lose_a_sector,
    add_something,
)


# ---- calls that fail


class Died(BaseException):
    """The process is gone: nothing of it runs any more, not even its cleaning up."""


@dataclass
class FailingFiles(Files):
    """A file system that fails at the ``place``-th call, once or from then on, or ends it all."""

    place: int
    error: Callable[[], BaseException]
    is_sticky: bool
    seen: int = 0

    def check(self) -> None:
        """Fail if it is time to."""
        self.seen += 1
        if self.seen == self.place or (self.is_sticky and self.seen > self.place > 0):
            raise self.error()

    def make_folder(self, folder: Path) -> None:
        """Fail, or do it."""
        self.check()
        super().make_folder(folder)

    def sync_folder(self, folder: Path) -> None:
        """Fail, or do it."""
        self.check()
        super().sync_folder(folder)

    def create(self, path: Path) -> BinaryIO:
        """Fail, or open a file that can fail."""
        self.check()
        return cast("BinaryIO", FailingFile(self, super().create(path)))

    def open(self, path: Path) -> BinaryIO:
        """Fail, or open a file that can fail."""
        self.check()
        return cast("BinaryIO", FailingFile(self, super().open(path)))

    def sync(self, file: BinaryIO) -> None:
        """Fail, or do it."""
        self.check()
        super().sync(file)

    def rename(self, path: Path, to: Path) -> None:
        """Fail, or do it."""
        self.check()
        super().rename(path, to)

    def remove(self, path: Path) -> None:
        """Fail, or do it."""
        self.check()
        super().remove(path)


class FailingFile:
    """A file each of whose calls can fail; a write that does is done by half."""

    def __init__(self, files: FailingFiles, file: BinaryIO) -> None:
        self._files = files
        self._file = file

    def __enter__(self) -> FailingFile:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def read(self, size: int) -> bytes:
        self._files.check()
        return self._file.read(size)

    def write(self, data: bytes) -> int:
        try:
            self._files.check()
        except BaseException:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)


def broken() -> OSError:
    return OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("error", "is_sticky"),
    [(broken, False), (broken, True), (Died, True)],
    ids=["once", "for good", "death"],
)
def test_a_snapshot_that_cannot_be_written_costs_nothing(
    error: Callable[[], BaseException], is_sticky: bool, memory_folder: Path
) -> None:
    for place in range(1, 100):
        folder = begin(memory_folder / "snapshots")
        files = FailingFiles(place, error, is_sticky)
        done = False
        try:
            write_snapshot(folder, NEW, a_state(), files=files)
            done = True
        except (OSError, Died):
            pass
        position, payload = found(folder)
        assert position == NEW if done else position in (OLD, NEW)
        assert payload == payloads()[position]
        if files.seen < place:
            return
        write_snapshot(folder, NEW + 1, [b"the next"])
        assert found(folder) == (NEW + 1, b"the next")
        assert not list(folder.glob("*.unfinished"))
        assert len(list(folder.iterdir())) == 2
    pytest.fail("there is no end to the calls")


@pytest.mark.parametrize("is_sticky", [False, True], ids=["once", "for good"])
def test_a_snapshot_that_cannot_be_read_is_passed_over_and_kept(
    is_sticky: bool, memory_folder: Path
) -> None:
    for place in range(1, 100):
        folder = begin(memory_folder / "snapshots")
        files = FailingFiles(place, broken, is_sticky)
        snapshot = newest_snapshot(folder, files=files).snapshot
        if files.seen < place:
            return
        assert (snapshot is None) == is_sticky
        assert snapshot is None or snapshot.position == OLDER
        assert found(folder)[0] == OLD, "it is whole, and read the next time"
    pytest.fail("there is no end to the calls")


def begin(folder: Path) -> Path:
    """Return the folder with two snapshots in it, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    for position in (OLDER, OLD):
        write_snapshot(folder, position, [payloads()[position]])
    return folder


def payloads() -> dict[int, bytes]:
    return {OLDER: b"older", OLD: b"old", NEW: b"".join(a_state())}


def found(folder: Path) -> tuple[int, bytes]:
    snapshot = newest_snapshot(folder).snapshot
    assert snapshot is not None
    return snapshot.position, b"".join(snapshot.chunks())


# ---- the power goes


@dataclass
class PoweredFiles(Files):
    """A file system that knows what of it would outlive a loss of power, at each call."""

    folder: Path
    chance: Random
    left: list[tuple[int, dict[str, bytes]]] = field(default_factory=list)
    calls: int = 0

    def __post_init__(self) -> None:
        self._platter = Platter({path.name: path.read_bytes() for path in self.folder.iterdir()})
        self._open: dict[int, Path] = {}

    def lose_power(self) -> Iterator[dict[str, bytes]]:
        """Yield what may be left of the files."""
        for _ in range(LOSSES_A_CALL):
            yield self._platter.after_power_loss(self.chance)

    def note(self, kind: Kind, path: Path, offset: int = 0, data: bytes = b"") -> None:
        """Do a call to the platter, and lose power before and behind it."""
        self._platter.do(Done(Call(kind, str(path), offset, data)))
        self.calls += 1
        self.left += [(self.calls, files) for files in self.lose_power()]

    def create(self, path: Path) -> BinaryIO:
        """Make the file."""
        self.note(Kind.OPEN, path, apsw.SQLITE_OPEN_CREATE)
        self.note(Kind.TRUNCATE, path, 0)
        return cast("BinaryIO", PoweredFile(self, path, super().create(path)))

    def sync(self, file: BinaryIO) -> None:
        """Make it durable."""
        super().sync(file)
        self.note(Kind.SYNC, cast("PoweredFile", file).path)

    def rename(self, path: Path, to: Path) -> None:
        """Rename it, here and on the platter."""
        super().rename(path, to)
        self._platter.rename(path.name, to.name)
        self.left += [(self.calls, files) for files in self.lose_power()]

    def remove(self, path: Path) -> None:
        """Remove it."""
        super().remove(path)
        self.note(Kind.DELETE, path)

    def sync_folder(self, folder: Path) -> None:
        """Make the names durable."""
        sync_folder(folder)
        self._platter.sync_folder()


class PoweredFile:
    """A file whose writes are noted."""

    def __init__(self, files: PoweredFiles, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._files = files
        self._file = file

    def __enter__(self) -> PoweredFile:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        self._files.note(Kind.WRITE, self.path, self._file.tell(), data)
        return self._file.write(data)


@pytest.mark.parametrize("seed", range(10))
def test_no_loss_of_power_leaves_less_than_the_snapshot_before(
    seed: int, memory_folder: Path
) -> None:
    folder = begin(memory_folder / "snapshots")
    files = PoweredFiles(folder, Random(seed))  # noqa: S311
    write_snapshot(folder, NEW, a_state(), files=files)
    for _, left in files.left:
        assert position_in(left, memory_folder / "left") in (OLD, NEW)
    for left in files.lose_power():
        assert position_in(left, memory_folder / "left") == NEW


def position_in(left: dict[str, bytes], folder: Path) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, held in left.items():
        (folder / name).write_bytes(held)
    position, payload = found(folder)
    assert payload == payloads()[position]
    return position

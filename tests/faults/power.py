"""What a disk holds when the power goes: what was synced, and of the rest whatever chance says.

``Journal`` notes what SQLite does to its files. ``Platter`` does it again, call by call, and can
say at any moment what a disk may hold if the power goes just then. What was written since a file's
last sync may be there or not, sector by sector, in any order; where the file grew there may be
remains of other files; a file's size and its entry in the folder may be those of before. A sync
that fails forgets what it should have written, as Linux does: it is in memory still, and no later
sync writes it.

Taken for granted: a sector is written whole or not at all, and the entry of the database itself is
durable (``connection.prepare_folder`` syncs it before SQLite sees the file).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import apsw

from tests.faults.disk import Call, Fault, Kind

SECTOR_BYTES: Final = 512

_SYNCS_ITS_FOLDER: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
"""Files of which SQLite syncs the folder when they are synced first after they were made."""


class Done(NamedTuple):
    """A call that was made, or one that failed."""

    call: Call
    failed: bool = False


@dataclass
class Journal:
    """A watcher that notes everything that changes a file or makes it durable."""

    sizes: dict[str, int] = field(default_factory=dict)
    """How long the files are, those that are there when it begins."""
    grows_by_itself: bool = True
    """Whether files may be made longer past SQLite, by allocating room for them."""
    sync_faults: frozenset[int] = frozenset()
    """Which syncs fail, by their number."""
    calls: list[Done] = field(default_factory=list)
    syncs: int = 0
    marked: int = 0
    """How many calls there were at the last ``mark``."""

    def mark(self) -> None:
        """Remember that something was said to be durable by now."""
        self.marked = len(self.calls)

    def before(self, call: Call) -> Fault | None:
        """Note the call."""
        match call.kind:
            case Kind.READ | Kind.SIZE:
                return None
            case Kind.WRITE:
                self._note_growth(call.path)
                end = call.offset + len(call.data)
                self.sizes[call.path] = max(self.sizes.get(call.path, 0), end)
            case Kind.TRUNCATE:
                self.sizes[call.path] = call.offset
            case Kind.DELETE:
                self.sizes.pop(call.path, None)
            case Kind.OPEN:
                if not os.path.exists(call.path):
                    self.sizes[call.path] = 0
                elif call.path not in self.sizes:
                    self.sizes[call.path] = os.path.getsize(call.path)
            case Kind.SYNC:
                self.syncs += 1
                if self.syncs in self.sync_faults:
                    self.calls.append(Done(call, failed=True))
                    return Fault(apsw.SQLITE_IOERR_FSYNC)
        self.calls.append(Done(call))
        return None

    def _note_growth(self, path: str) -> None:
        """Note that the file was made longer past SQLite: room is allocated for the WAL."""
        if not self.grows_by_itself:
            return
        size = os.path.getsize(path)
        if size > self.sizes.get(path, 0):
            self.calls.append(Done(Call(Kind.TRUNCATE, path, size)))
            self.sizes[path] = size


@dataclass
class _Inode:
    """A file: as programs see it, as it is durable, and what happened in between."""

    seen: bytearray
    durable: bytearray
    unsynced: list[_Change] = field(default_factory=list)
    syncs_its_folder: bool = False

    def change(self, call: Call) -> None:
        sectors: range | tuple[()] = ()
        if call.kind is Kind.TRUNCATE:
            self._resize(call.offset)
        else:
            end = call.offset + len(call.data)
            self._resize(max(len(self.seen), end))
            self.seen[call.offset : end] = call.data
            sectors = range(call.offset // SECTOR_BYTES, (end - 1) // SECTOR_BYTES + 1)
        pieces = {
            number: bytes(self.seen[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES])
            for number in sectors
        }
        self.unsynced.append(_Change(len(self.seen), pieces))

    def sync(self) -> None:
        for change in self.unsynced:
            change.write_into(self.durable, change.sectors)
        _resize(self.durable, len(self.seen))
        self.unsynced.clear()

    def fail_to_sync(self) -> None:
        self.unsynced.clear()

    def after_power_loss(self, chance: Random) -> bytes:
        image = bytearray(self.durable)
        unsynced = self.unsynced
        if not unsynced:
            return bytes(image)
        match chance.randrange(4):
            case 0:  # nothing of it was written
                return bytes(image)
            case 1:  # all was, up to somewhere
                unsynced = unsynced[: chance.randrange(len(unsynced) + 1)]
                likely, size = 1.0, unsynced[-1].size if unsynced else len(image)
            case _:
                likely = chance.random()
                size = chance.choice([len(image), *(change.size for change in unsynced)])
        if chance.random() < 0.5 and size > len(image):
            image += chance.randbytes(size - len(image))  # remains of other files
        block = chance.choice((1, 8))  # sectors that are written or lost together
        for number, change in enumerate(unsynced, start=1):
            torn = chance.random() if likely == 1 and number == len(unsynced) else likely
            fate: dict[int, bool] = {}
            kept = [
                sector
                for sector in change.sectors
                if fate.setdefault(sector // block, chance.random() < torn)
            ]
            change.write_into(image, kept)
        _resize(image, size)
        return bytes(image)

    def _resize(self, size: int) -> None:
        _resize(self.seen, size)


class _Change(NamedTuple):
    size: int
    sectors: dict[int, bytes]
    """What the sectors that were written hold from then on."""

    def write_into(self, image: bytearray, sectors: dict[int, bytes] | list[int]) -> None:
        for number in sectors:
            start, piece = number * SECTOR_BYTES, self.sectors[number]
            _resize(image, max(len(image), start + len(piece)))
            image[start : start + len(piece)] = piece


def _resize(image: bytearray, size: int) -> None:
    if size < len(image):
        del image[size:]
    else:
        image.extend(bytes(size - len(image)))


class Platter:
    """The files of one folder, and what of them is durable."""

    def __init__(self, files: dict[str, bytes]) -> None:
        """``files`` are there when it begins, and durable."""
        inodes = {name: _Inode(bytearray(held), bytearray(held)) for name, held in files.items()}
        self._seen = dict(inodes)
        self._durable = dict(inodes)
        self._unsynced: list[tuple[str, _Inode | None]] = []

    def do(self, done: Done) -> None:
        """Do one call of a journal."""
        call, name = done.call, Path(done.call.path).name
        match call.kind:
            case Kind.OPEN:
                if name not in self._seen:
                    inode = _Inode(bytearray(), bytearray())
                    inode.syncs_its_folder = bool(call.offset & _SYNCS_ITS_FOLDER)
                    self._link(name, inode)
            case Kind.DELETE:
                if name in self._seen:
                    self._link(name, None)
                if call.offset:
                    self.sync_folder()
            case Kind.SYNC:
                inode = self._seen[name]
                if done.failed:
                    inode.fail_to_sync()
                    return
                inode.sync()
                if inode.syncs_its_folder:
                    inode.syncs_its_folder = False
                    self.sync_folder()
            case _:
                self._seen[name].change(call)

    def rename(self, name: str, to: str) -> None:
        """Give a file another name."""
        inode = self._seen[name]
        self._link(to, inode)
        self._link(name, None)

    def sync_folder(self) -> None:
        """Make the names as they are now durable."""
        for name, inode in self._unsynced:
            _set(self._durable, name, inode)
        self._unsynced.clear()

    def after_power_loss(self, chance: Random) -> dict[str, bytes]:
        """Return the files that may be there after the power went just now."""
        entries = dict(self._durable)
        for name, changes in self._changes_by_name():
            kept = chance.randrange(len(changes) + 1)
            if kept:
                _set(entries, name, changes[kept - 1])
        return {name: inode.after_power_loss(chance) for name, inode in entries.items()}

    def _changes_by_name(self) -> Iterator[tuple[str, list[_Inode | None]]]:
        for name in dict.fromkeys(name for name, _ in self._unsynced):
            yield name, [inode for other, inode in self._unsynced if other == name]

    def _link(self, name: str, inode: _Inode | None) -> None:
        _set(self._seen, name, inode)
        self._unsynced.append((name, inode))


def _set(entries: dict[str, _Inode], name: str, inode: _Inode | None) -> None:
    if inode is None:
        entries.pop(name, None)
    else:
        entries[name] = inode

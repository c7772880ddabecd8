"""A disk that fails when it is told to, and that forgets what was not synced when power is lost.

It stands under the real SQLite as a watcher of ``tests.faults.disk``, and under the snapshot
files in place of a few functions of ``os``. What a power cut leaves of the database is what
``tests.faults.power`` says.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Final
from unittest import mock

import apsw

from alertd.store import wal
from tests.faults.disk import Call, Fault, Kind
from tests.faults.power import Done, Journal, Platter

_CHANGES: Final = frozenset({Kind.WRITE, Kind.SYNC, Kind.TRUNCATE, Kind.DELETE})
_REMAINING: Final = ("", "-wal", "-journal")
"""Files of a database that are on the disk; the ``-shm`` is memory."""


class Disk:
    """The disk of one world. It ends at a power cut and is sound again after ``restart``."""

    def __init__(self, database: Path, random: Random, on_death: Callable[[], None]) -> None:
        self.is_full = False
        self.is_dead = False
        self.calls = 0
        """Changes that were asked for, of the database and of snapshots."""
        self._database = database
        self._random = random
        self._on_death = on_death
        self._dies_at: int | None = None
        self._faults: dict[Kind, tuple[int, Fault]] = {}
        self._begin()

    # ---- what is to happen

    def die_after(self, calls: int) -> None:
        """Be dead ``calls`` changes from now; with 0, at once."""
        self._dies_at = self.calls + calls
        if calls == 0:
            self._die()

    def fail_after(self, calls: int, kind: Kind, code: int) -> None:
        """Let one call of a kind fail, after so many more that do not."""
        self._faults[kind] = (calls, Fault(code))

    def heal(self) -> None:
        """Be sound from now on."""
        self._faults.clear()
        self._dies_at, self.is_full = None, False

    def restart(self, *, with_power_lost: bool) -> None:
        """Be sound again; if power was lost, with what reached the disk only."""
        self.heal()
        self.is_dead = False
        if with_power_lost:
            self._lose_power()
        self._database.with_name(f"{self._database.name}-shm").unlink(missing_ok=True)
        self._begin()

    def _begin(self) -> None:
        """Take what is there now for durable."""
        files = [self._database.with_name(self._database.name + end) for end in _REMAINING]
        self._begun = {file.name: file.read_bytes() for file in files if file.exists()}
        sizes = {str(self._database.with_name(n)): len(held) for n, held in self._begun.items()}
        self._journal = Journal(sizes, grows_by_itself=False)  # see ``_set_room_aside``

    def _lose_power(self) -> None:
        platter = Platter(self._begun)
        for done in self._journal.calls:
            platter.do(done)
        for end in _REMAINING:
            self._database.with_name(self._database.name + end).unlink(missing_ok=True)
        for name, held in platter.after_power_loss(self._random).items():
            self._database.with_name(name).write_bytes(held)

    # ---- under SQLite

    def before(self, call: Call) -> Fault | None:
        """Let a call fail, or note it."""
        if call.kind in _CHANGES:
            self._count()
        if self.is_dead:
            if self.calls == self._dies_at:
                self._dies_at = None
                self._journal.before(call)  # the one under way: some of it may be on the disk
            return Fault(apsw.SQLITE_IOERR)
        armed = self._faults.get(call.kind)
        if armed is not None:
            calls, fault = armed
            if calls == 0:
                del self._faults[call.kind]
                if call.kind is Kind.SYNC:
                    self._journal.calls.append(Done(call, failed=True))
                return fault
            self._faults[call.kind] = (calls - 1, fault)
        if self.is_full and call.kind is Kind.WRITE and self._grows(call):
            return Fault(apsw.SQLITE_FULL)
        return self._journal.before(call)

    def _grows(self, call: Call) -> bool:
        # The WAL has room that was set aside for it before the transaction; see ``wal.py``.
        return not call.path.endswith("-wal") and call.offset >= os.stat(call.path).st_size

    # ---- under the snapshots

    @contextmanager
    def under_files(self) -> Iterator[None]:
        """Stand under what alertd does with files beside the database, while the block runs."""
        with ExitStack() as stack:
            for name, replacement in (
                ("posix_fallocate", self._set_room_aside),
                ("fsync", self._then(os.fsync)),
                ("replace", self._then(os.replace)),
                ("unlink", self._then(os.unlink)),
            ):
                stack.enter_context(mock.patch.object(os, name, replacement))
            stack.enter_context(mock.patch.object(wal, "ROOM_STEP_BYTES", 0))
            yield

    def _set_room_aside(self, _descriptor: int, _offset: int, _length: int) -> None:
        self._refuse_if_broken()

    def _then(self, function: Callable[..., None]) -> Callable[..., None]:
        def changed(*args: object, **kwargs: object) -> None:
            self._count()
            self._refuse_if_broken(deletes=function is _UNLINK)
            function(*args, **kwargs)

        return changed

    def _refuse_if_broken(self, *, deletes: bool = False) -> None:
        if self.is_dead:
            raise OSError(errno.EIO, "the power is off")
        if self.is_full and not deletes:
            raise OSError(errno.ENOSPC, "no space left on device")

    # ---- the end

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self._dies_at:
            self._die()

    def _die(self) -> None:
        if not self.is_dead:
            self.is_dead = True
            self._on_death()


_UNLINK: Final = os.unlink


def damage(path: Path, random: Random) -> None:
    """Flip a bit of a file, or cut it off."""
    content = bytearray(path.read_bytes())
    place = random.randrange(len(content))
    if random.random() < 0.5:
        content[place] ^= 1 << random.randrange(8)
    else:
        del content[place:]
    path.write_bytes(content)

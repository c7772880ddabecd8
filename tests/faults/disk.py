"""A disk that is watched, and one that fails: SQLite's own file system with a hand on each call.

``Watched`` is the default VFS while its block runs, so the daemon's code opens files through it
without knowing. Every call is shown to a ``Watcher`` before it is made; the watcher may refuse it
with a ``Fault``. Locks and the shared memory of the WAL index are left alone: they are not on the
disk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

import apsw

_BASE: Final = "unix"
_names = itertools.count()


class Kind(StrEnum):
    """What a call asks of the disk."""

    OPEN = "open"
    READ = "read"
    WRITE = "write"
    SYNC = "sync"
    TRUNCATE = "truncate"
    SIZE = "size"
    DELETE = "delete"


class Call(NamedTuple):
    """One call. ``offset`` is the new size for TRUNCATE, the flags for OPEN."""

    kind: Kind
    path: str
    offset: int = 0
    data: bytes = b""


class Fault(NamedTuple):
    """How a call fails: SQLite's extended code, and for a write how much of it is done first."""

    code: int
    is_short: bool = False


class Watcher(Protocol):
    """Sees each call before it is made."""

    def before(self, call: Call) -> Fault | None:
        """Return how the call is to fail, None to let it be made."""
        ...


class Watched(apsw.VFS):
    """SQLite's file system, each call of it shown to ``watcher`` first."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        super().__init__(f"watched-{next(_names)}", _BASE, makedefault=True)

    def xOpen(  # noqa: N802  # SQLite's name, as are the others here
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        _check(self._watcher.before(Call(Kind.OPEN, path, flags[0])))
        return _WatchedFile(self._watcher, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        _check(self._watcher.before(Call(Kind.DELETE, filename, int(syncdir))))
        super().xDelete(filename, syncdir)


class _WatchedFile(apsw.VFSFile):
    def __init__(
        self,
        watcher: Watcher,
        path: str,
        name: str | apsw.URIFilename | None,
        flags: list[int],
    ) -> None:
        self._before = watcher.before
        self._path = path
        super().__init__(_BASE, name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        _check(self._before(Call(Kind.READ, self._path, offset)))
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        data = bytes(data)
        fault = self._before(Call(Kind.WRITE, self._path, offset, data))
        if fault is not None and fault.is_short:
            super().xWrite(data[: len(data) // 2], offset)
        _check(fault)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        _check(self._before(Call(Kind.SYNC, self._path)))
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        _check(self._before(Call(Kind.TRUNCATE, self._path, newsize)))
        super().xTruncate(newsize)

    def xFileSize(self) -> int:  # noqa: N802
        _check(self._before(Call(Kind.SIZE, self._path)))
        return super().xFileSize()


def _check(fault: Fault | None) -> None:
    if fault is not None:
        raise apsw.exception_for(fault.code)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Have SQLite open files on a watched disk while the block runs."""
    disk = Watched(watcher)
    try:
        yield
    finally:
        disk.unregister()


@dataclass
class FaultAt:
    """A watcher that lets the ``place``-th call of a kind fail, once or from then on.

    From then on means every call of that kind: a full disk can still be read.
    """

    kind: Kind
    place: int
    fault: Fault
    is_sticky: bool = False
    seen: int = 0
    fired: int = 0

    def before(self, call: Call) -> Fault | None:
        """Count the call, and let it fail if it is its turn."""
        if call.kind is not self.kind:
            return None
        self.seen += 1
        if self.seen == self.place or (self.is_sticky and self.seen > self.place):
            self.fired += 1
            return self.fault
        return None

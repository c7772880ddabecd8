"""Durable files that hold the engine's state as it was at one position of the log.

Owns the file format and which file to trust; knows nothing of the state. A file is a 64-byte
header and the payload. The header, little-endian: magic (8 bytes), format version (u32), 4
reserved bytes, position in the log (u64), payload length (u64), BLAKE2b-256 (32 bytes) of the
payload followed by the header's first 32 bytes.

Invariant: a file under its final name was whole on the disk before it got that name, and one
that is damaged in any bit is rejected and never read as something else. The newest two are kept;
a damaged file is set aside under another name, so that it cannot count as one of the two. One
that cannot be read just now is only passed over: it may be whole.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from msgspec import Struct

from alertd.clock import format_us
from alertd.store.failures import StoreCorrupt
from alertd.store.files import FILES, Files

FORMAT_VERSION: Final = 1
KEPT: Final = 2
CHUNK_BYTES: Final = 1 << 20
SYNCED_AT_ONCE_BYTES: Final = 1 << 20
"""Of a snapshot that is written: an fsync of events that comes meanwhile waits for no more."""

_MAGIC: Final = b"ALERTDSN"
_FIELDS: Final = struct.Struct("<8sI4xQQ")
_DIGEST_BYTES: Final = 32
_HEADER_BYTES: Final = _FIELDS.size + _DIGEST_BYTES
_NAME: Final = re.compile(r"state-(\d{20})\.snapshot")
_REJECTED_SUFFIX: Final = ".rejected"
_UNFINISHED_SUFFIX: Final = ".unfinished"


class SnapshotFile(Struct, frozen=True, rename="camel"):
    """A snapshot as its name and its size tell of it, not looked into."""

    name: str
    position: int
    size_bytes: int
    written_at: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A snapshot file that is not to be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file that has been found whole."""

    path: Path
    position: int
    """The log position whose effects the state holds; replay what is behind it."""
    payload_bytes: int
    files: Files = FILES

    def chunks(self) -> Iterator[bytes]:
        """Yield the payload in pieces of at most ``CHUNK_BYTES``, checking it once more.

        Raises ``StoreCorrupt`` at the end if it is no longer what was found whole, and
        ``OSError``.
        """
        with self.files.open(self.path) as file:
            try:
                yield from _read_payload(file, _read_header(file))
            except Damaged as damage:
                raise StoreCorrupt(
                    f"{self.path} changed while it was read: {damage}; start again"
                ) from damage


@dataclass(frozen=True, slots=True)
class Found:
    """What a search for a snapshot found: the newest good one, and those passed over for it."""

    snapshot: Snapshot | None
    rejected: tuple[Rejected, ...] = ()


def snapshots_folder(database: Path) -> Path:
    """Return the folder of the snapshots that belong to ``database``."""
    return database.with_name(f"{database.name}.snapshots")


def snapshot_names(folder: Path) -> list[Path]:
    """Return the snapshot files in ``folder``; none if there is no such folder."""
    return sorted(path for path in folder.glob("state-*") if _NAME.fullmatch(path.name))[::-1]


def set_all_aside(folder: Path) -> None:
    """Have no snapshot in ``folder`` that would be used. Raises ``OSError``."""
    for path in snapshot_names(folder):
        FILES.rename(path, path.with_name(path.name + _REJECTED_SUFFIX))


def snapshot_files(folder: Path) -> list[SnapshotFile]:
    """Return the snapshots in ``folder``, the newest first."""
    files = []
    for path in snapshot_names(folder):
        with contextlib.suppress(OSError):  # the daemon removes the oldest now and then
            found = path.stat()
            files.append(
                SnapshotFile(
                    name=path.name,
                    position=int(path.name.removeprefix("state-").partition(".")[0]),
                    size_bytes=found.st_size,
                    written_at=format_us(found.st_mtime_ns // 1000),
                )
            )
    return files


def write_snapshot(
    folder: Path, position: int, chunks: Iterable[bytes], *, files: Files = FILES
) -> Path:
    """Write a snapshot of the state at ``position``, and remove all but the newest two.

    Blocks for the time of two fsyncs, and of one more for each MiB. Raises ``OSError`` when the
    file cannot be written; what was there before is untouched then.
    """
    files.make_folder(folder)
    final = folder / f"state-{position:020}.snapshot"
    unfinished = final.with_name(final.name + _UNFINISHED_SUFFIX)
    try:
        with files.create(unfinished) as file:
            _write(file, position, chunks, files)
            files.sync(file)
        files.rename(unfinished, final)
    except BaseException:
        with contextlib.suppress(OSError):  # the next one removes it, too
            files.remove(unfinished)
        raise
    files.sync_folder(folder)
    _remove_old(folder, files)
    return final


def newest_snapshot(
    folder: Path,
    *,
    not_after: int | None = None,
    older_than: Path | None = None,
    files: Files = FILES,
) -> Found:
    """Return the newest good snapshot in ``folder``, and set those that are damaged aside.

    ``not_after`` is the end of the log: a snapshot from beyond it belongs to entries that were
    lost (durability ``relaxed``) or to another database, and must not be trusted. Only those
    ``older_than`` one that proved to be of no use are looked at. Reads each file that it looks
    at whole.
    """
    rejected = []
    for path in snapshot_names(folder):
        if older_than is not None and path.name >= older_than.name:
            continue
        try:
            snapshot = _check(path, not_after, files)
        except OSError as reason:
            rejected.append(Rejected(path, str(reason)))
        except Damaged as reason:
            rejected.append(Rejected(path, str(reason)))
            with contextlib.suppress(OSError):
                files.rename(path, path.with_name(path.name + _REJECTED_SUFFIX))
        else:
            return Found(snapshot, tuple(rejected))
    return Found(None, tuple(rejected))


class Damaged(ValueError):
    """A file that is not, or no longer, a snapshot to be used."""


class Readable(Protocol):
    """A file, or what can be read like one."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        ...


class Opened(NamedTuple):
    """A snapshot that is being read."""

    position: int
    payload_bytes: int
    chunks: Iterator[bytes]
    """The payload; raises ``Damaged``, at its end, if it is not what was written."""

    def verify(self) -> None:
        """Read all of it. Raises ``Damaged``."""
        for _ in self.chunks:
            pass


def read_snapshot(file: Readable) -> Opened:
    """Read the snapshot in ``file``, from its beginning. Raises ``Damaged``."""
    header = _read_header(file)
    return Opened(header.position, header.payload_bytes, _read_payload(file, header))


class _Header(NamedTuple):
    raw: bytes
    position: int
    payload_bytes: int
    digest: bytes


def _check(path: Path, not_after: int | None, files: Files) -> Snapshot:
    with files.open(path) as file:
        snapshot = read_snapshot(file)
        snapshot.verify()
    if not_after is not None and snapshot.position > not_after:
        raise Damaged(f"it is of position {snapshot.position}, but the log ends at {not_after}")
    return Snapshot(path, snapshot.position, snapshot.payload_bytes, files)


def _read_header(file: Readable) -> _Header:
    raw = file.read(_FIELDS.size)
    digest = file.read(_DIGEST_BYTES)
    if len(digest) < _DIGEST_BYTES:
        raise Damaged("it ends within its header")
    magic, version, position, payload_bytes = _FIELDS.unpack(raw)
    if magic != _MAGIC:
        raise Damaged("it does not begin as a snapshot of alertd does")
    if version != FORMAT_VERSION:
        raise Damaged(f"it has format {version}, and this alertd knows {FORMAT_VERSION}")
    return _Header(raw, position, payload_bytes, digest)


def _read_payload(file: Readable, header: _Header) -> Iterator[bytes]:
    """Yield the payload; raise ``Damaged``, at the end, if it was not what was written."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    size_bytes = 0
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        size_bytes += len(chunk)
        yield chunk
    if size_bytes != header.payload_bytes:
        raise Damaged(f"it holds {size_bytes} bytes where {header.payload_bytes} were written")
    digest.update(header.raw)
    if digest.digest() != header.digest:
        raise Damaged("its checksum does not match")


def _write(file: BinaryIO, position: int, chunks: Iterable[bytes], files: Files) -> None:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    size_bytes = synced_bytes = 0
    file.write(bytes(_HEADER_BYTES))
    for chunk in chunks:
        file.write(chunk)
        digest.update(chunk)
        size_bytes += len(chunk)
        if size_bytes - synced_bytes >= SYNCED_AT_ONCE_BYTES:
            files.sync(file)
            synced_bytes = size_bytes
    fields = _FIELDS.pack(_MAGIC, FORMAT_VERSION, position, size_bytes)
    digest.update(fields)
    file.seek(0)
    file.write(fields + digest.digest())


def _remove_old(folder: Path, files: Files) -> None:
    """Leave the newest two, the newest rejected file for whoever looks into it, and no remains."""
    rejected = sorted(folder.glob(f"state-*{_REJECTED_SUFFIX}"))
    unfinished = folder.glob(f"state-*{_UNFINISHED_SUFFIX}")
    for path in (*snapshot_names(folder)[KEPT:], *rejected[:-1], *unfinished):
        files.remove(path)

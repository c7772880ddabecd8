"""Snapshot files: whole or rejected, and never fewer than one good one."""

from __future__ import annotations

import random
import stat
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import pytest

from alertd.store.failures import StoreCorrupt
from alertd.store.files import Files
from alertd.store.snapshots import (
    CHUNK_BYTES,
    SYNCED_AT_ONCE_BYTES,
    newest_snapshot,
    write_snapshot,
)

PAYLOAD = bytes(range(256)) * 12


def payload_of(folder: Path) -> bytes | None:
    snapshot = newest_snapshot(folder).snapshot
    return None if snapshot is None else b"".join(snapshot.chunks())


@pytest.mark.parametrize("chunks", [[], [b""], [PAYLOAD], [b"a", b"", PAYLOAD, b"z"]])
def test_what_was_written_is_read(tmp_path: Path, chunks: list[bytes]) -> None:
    path = write_snapshot(tmp_path / "new" / "folder", 2**63, iter(chunks))
    found = newest_snapshot(path.parent)
    assert found.rejected == ()
    assert found.snapshot is not None
    assert found.snapshot.position == 2**63
    assert found.snapshot.path == path
    assert found.snapshot.payload_bytes == len(b"".join(chunks))
    assert b"".join(found.snapshot.chunks()) == b"".join(chunks)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_large_payload_is_read_in_pieces(tmp_path: Path) -> None:
    write_snapshot(tmp_path, 1, [bytes(CHUNK_BYTES), bytes(CHUNK_BYTES // 2)])
    snapshot = newest_snapshot(tmp_path).snapshot
    assert snapshot is not None
    sizes = [len(chunk) for chunk in snapshot.chunks()]
    assert max(sizes) <= CHUNK_BYTES
    assert sum(sizes) == CHUNK_BYTES * 3 // 2


class WatchedFiles(Files):
    """Notes how much a file had each time that it was made durable."""

    def __init__(self) -> None:
        self.synced_bytes: list[int] = []

    def sync(self, file: BinaryIO) -> None:
        """Do so."""
        self.synced_bytes.append(file.tell())
        super().sync(file)


def test_a_large_snapshot_is_made_durable_in_pieces(tmp_path: Path) -> None:
    """So that an fsync of events that comes meanwhile waits for one of them only."""
    files = WatchedFiles()
    write_snapshot(tmp_path, 1, [bytes(SYNCED_AT_ONCE_BYTES // 4)] * 10, files=files)
    steps = [later - earlier for earlier, later in pairwise(files.synced_bytes[:-1])]
    assert steps == [SYNCED_AT_ONCE_BYTES]
    assert payload_of(tmp_path) == bytes(SYNCED_AT_ONCE_BYTES // 4 * 10)


@pytest.mark.parametrize("exists", [True, False])
def test_without_a_snapshot_there_is_none(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path if exists else tmp_path / "none"
    assert newest_snapshot(folder).snapshot is None


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for position in (8, 9, 10, 11):
        write_snapshot(tmp_path, position, [b"%d" % position])
    assert len(list(tmp_path.iterdir())) == 2
    assert payload_of(tmp_path) == b"11"
    (tmp_path / "state-00000000000000000011.snapshot").unlink()
    assert payload_of(tmp_path) == b"10"


def test_every_flipped_bit_is_noticed_and_the_older_one_used(tmp_path: Path) -> None:
    write_snapshot(tmp_path, 1, [b"older"])
    path = write_snapshot(tmp_path, 2, [PAYLOAD])
    whole = path.read_bytes()
    bits = list(range(64 * 8)) + random.Random(5).sample(  # noqa: S311 - not a secret
        range(64 * 8, len(whole) * 8), 1500
    )
    for bit in bits:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found = newest_snapshot(tmp_path)
        assert found.snapshot is not None
        assert found.snapshot.position == 1, f"bit {bit} went unnoticed"
        assert [rejected.path for rejected in found.rejected] == [path]
    path.write_bytes(whole)
    assert payload_of(tmp_path) == PAYLOAD


def test_every_cut_and_every_addition_is_noticed(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, 2, [PAYLOAD])
    whole = path.read_bytes()
    cuts = [*range(80), *range(80, len(whole), 7), len(whole) - 1]
    for damaged in (*(whole[:size] for size in cuts), whole + b"\0", whole + whole):
        path.write_bytes(damaged)
        found = newest_snapshot(tmp_path)
        assert found.snapshot is None, f"{len(damaged)} bytes went unnoticed"
        assert found.rejected[0].reason


def test_a_rejected_file_is_set_aside_and_does_not_count_as_one_of_two(tmp_path: Path) -> None:
    write_snapshot(tmp_path, 1, [b"good"])
    write_snapshot(tmp_path, 2, [b"bad"]).write_bytes(b"junk")
    assert payload_of(tmp_path) == b"good"
    write_snapshot(tmp_path, 3, [b"newer"])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "state-00000000000000000001.snapshot",
        "state-00000000000000000002.snapshot.rejected",
        "state-00000000000000000003.snapshot",
    ]


def test_a_snapshot_from_beyond_the_end_of_the_log_is_not_trusted(tmp_path: Path) -> None:
    write_snapshot(tmp_path, 5, [b"five"])
    write_snapshot(tmp_path, 9, [b"nine"])
    found = newest_snapshot(tmp_path, not_after=8)
    assert found.snapshot is not None
    assert found.snapshot.position == 5
    assert "the log ends at 8" in found.rejected[0].reason
    # Nor later, when the log has grown past it with other entries.
    assert payload_of(tmp_path) == b"five"


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    write_snapshot(tmp_path, 1, [b"good"])

    def breaking() -> Iterator[bytes]:
        yield b"half"
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_snapshot(tmp_path, 2, breaking())
    assert [path.name for path in tmp_path.iterdir()] == ["state-00000000000000000001.snapshot"]


def test_what_a_crash_left_unfinished_is_never_read_and_goes_away(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, 1, [b"good"])
    unfinished = tmp_path / "state-00000000000000000002.snapshot.unfinished"
    unfinished.write_bytes(path.read_bytes())
    assert payload_of(tmp_path) == b"good"
    write_snapshot(tmp_path, 3, [b"three"])
    assert not unfinished.exists()


def test_a_file_that_changes_after_it_was_found_is_noticed(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, 1, [b"good"])
    snapshot = newest_snapshot(tmp_path).snapshot
    assert snapshot is not None
    path.write_bytes(path.read_bytes().replace(b"good", b"evil"))
    with pytest.raises(StoreCorrupt, match="changed while it was read"):
        list(snapshot.chunks())


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for position in (1, 2, 3):
        write_snapshot(tmp_path, position, [b"x"])
    assert (tmp_path / "notes.txt").read_text() == "mine"

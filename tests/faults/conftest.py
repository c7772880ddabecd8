"""Folders in memory: what is tried here is tried thousands of times."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from alertd.store import connection, folding, reserve, retention, segment_draft, space, wal

SMALL: Final = (
    (connection, "WRITER_CACHE_KIB", 48),  # larger transactions write before they commit
    (wal, "ROOM_STEP_BYTES", 256 << 10),
    (wal, "CHECKPOINT_BYTES", 32 << 10),
    (reserve, "RESERVE_BYTES", 2 << 20),
    (segment_draft, "BLOCK_EVENTS", 500),
    (segment_draft, "BLOCK_RUNS", 300),
    (folding, "READ_BYTES", 16 << 10),
    (folding, "WRITE_BYTES", 4 << 10),
    (folding, "DELETE_BYTES", 16 << 10),
    (folding, "DELETE_ENTRIES", 3),
    (folding, "DELETE_BLOCKS", 2),
    (retention, "READ_BLOCKS", 2),
    (retention, "BLOCK_ROLLUPS", 20),
    (retention, "DELETE_BLOCKS", 1),
    (space, "STEP_PAGES", 8),
    (space, "KEPT_PAGES", 4),
)
"""So small that a short life is one of many transactions and checkpoints."""


@pytest.fixture(scope="module")
def memory_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield an empty folder, in memory where that can be."""
    memory = Path("/dev/shm")  # noqa: S108  # the name in it is random
    if not memory.is_dir():
        yield tmp_path_factory.mktemp("faults")
        return
    with tempfile.TemporaryDirectory(prefix="alertd-faults-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="module", autouse=True)
def small_steps() -> Iterator[None]:
    """Have everything be done in small steps."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, size in SMALL:
            patch.setattr(module, name, size)
        yield

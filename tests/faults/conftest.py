"""Folders in memory: what is tried here is tried thousands of times."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from alertd.store import connection, reserve, wal
from tests.faults.life import CACHE_KIB, CHECKPOINT_BYTES, RESERVE_BYTES


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
    """Have checkpoints come often and transactions outgrow the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "WRITER_CACHE_KIB", CACHE_KIB)
        patch.setattr(wal, "ROOM_STEP_BYTES", 256 << 10)
        patch.setattr(wal, "CHECKPOINT_BYTES", CHECKPOINT_BYTES)
        patch.setattr(reserve, "RESERVE_BYTES", RESERVE_BYTES)
        yield

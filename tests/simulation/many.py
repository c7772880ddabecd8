"""Many worlds, in several processes: each has a folder and an empty database of its own."""

from __future__ import annotations

import gc
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.simulation.world import Simulation

_MEMORY = Path("/dev/shm")  # noqa: S108  # folders in it have random names

_simulation: Simulation | None = None


@contextmanager
def empty_folder() -> Iterator[Path]:
    """Yield an empty folder, in memory where that can be."""
    parent = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="alertd-simulation-", dir=parent) as folder:
        yield Path(folder)


@contextmanager
def judged(seeds: Sequence[int], jobs: int) -> Iterator[Iterator[tuple[int, tuple[str, ...]]]]:
    """Yield an iterator over seeds, in their order, and what was wrong in their worlds."""
    with (
        empty_folder() as folder,
        multiprocessing.get_context("spawn").Pool(jobs, _begin, (folder,)) as pool,
    ):
        yield pool.imap(_judge, seeds, chunksize=10)


def _begin(folder: Path) -> None:
    global _simulation  # one a process
    gc.set_threshold(20_000)  # a world leaves less than that, and looking for it takes time
    own = folder / str(os.getpid())
    own.mkdir()
    _simulation = Simulation(own)
    _simulation.prepare()


def _judge(seed: int) -> tuple[int, tuple[str, ...]]:
    assert _simulation is not None, "the pool has begun"
    try:
        return seed, _simulation.judge(seed).findings
    except Exception as error:  # a world that ends like this is a finding as well
        return seed, (f"it ended by {error!r}",)

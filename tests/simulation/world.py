"""One seed from its beginning to the verdict."""

from __future__ import annotations

import gc
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from unittest import mock

import structlog
import trio

from alertd.store import folding, reserve, segment_draft
from alertd.store import retention as store_retention
from alertd.store import store as stores
from alertd.store.store import open_store
from alertd.upkeep import snapshotter
from tests.faults.disk import watched_by
from tests.simulation.checkers import findings
from tests.simulation.determinism import Inline, run_seeded
from tests.simulation.lives import World
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.remains import remains_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a world."""

    plan: Plan
    digest: str
    """A hash of its trace."""
    findings: tuple[str, ...]
    """What was wrong, in words."""
    trace: tuple[str, ...]


class Simulation:
    """Runs worlds in a folder, one after the other; best in one that is memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._empty = folder / "empty"

    def prepare(self) -> None:
        """Make the empty database that every world begins with. What is in memory by then stays."""
        self._empty.mkdir()
        with _silence(), _small():
            trio.run(self._make_empty)
        gc.freeze()  # of what is there now nothing becomes garbage; not looking saves a tenth

    async def _make_empty(self) -> None:
        async with open_store(self._empty / "alertd.db"):
            pass

    def judge(self, seed: int) -> Verdict:
        """Run the world of ``seed`` and judge it."""
        folder = self._folder / "world"  # the same for all: its name is in messages
        shutil.copytree(self._empty, folder)
        try:
            with _silence(), _small():
                return run_seeded(partial(self._judge, draw_plan(seed), folder), seed)
        finally:
            shutil.rmtree(folder)

    async def _judge(self, plan: Plan, folder: Path) -> Verdict:
        world = World(plan, folder)
        with world.disk.under_files():
            with watched_by(world.disk):
                story = await world.run()
            core = world.last
            assert core is not None, "the last life ended in order"
            async with open_store(world.path, blocking=Inline(plan.another_chance())) as store:
                remains = await remains_of(
                    store, world.chronicle, core.pipeline.engine, core.clock.now_us()
                )
        for row in (*remains.incidents, *remains.notifications):
            story.note(*row)
        return Verdict(plan, story.digest(), tuple(findings(story, remains)), tuple(story.trace))


SMALL: Final = (
    (snapshotter, "PACK_SLICE_BYTES", 300),
    (reserve, "RESERVE_BYTES", 4 << 10),
    (stores, "RESERVE_BYTES", 4 << 10),
    (segment_draft, "BLOCK_EVENTS", 8),
    (segment_draft, "BLOCK_RUNS", 3),
    (folding, "READ_BYTES", 64),
    (folding, "WRITE_BYTES", 64),
    (folding, "DELETE_ENTRIES", 2),
    (folding, "DELETE_BLOCKS", 1),
    (store_retention, "READ_BLOCKS", 2),
    (store_retention, "BLOCK_ROLLUPS", 3),
    (store_retention, "DELETE_BLOCKS", 1),
)
"""So small that what is done in portions has several of them here."""


@contextmanager
def _small() -> Iterator[None]:
    """Have everything be done in small portions."""
    with ExitStack() as stack:
        for module, name, size in SMALL:
            stack.enter_context(mock.patch.object(module, name, size))
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """Log nothing: a world that goes as it should is full of warnings."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        processors=[_drop],
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _drop(
    logger: object, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    raise structlog.DropEvent

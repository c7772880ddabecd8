"""One seed from its beginning to the verdict."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import structlog
import trio

from alertd.store.store import open_store
from alertd.upkeep import snapshotter
from tests.faults.disk import watched_by
from tests.simulation.checkers import findings, remains_of
from tests.simulation.determinism import Inline, run_seeded
from tests.simulation.lives import World
from tests.simulation.plan import Plan, draw_plan


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
        """Make the empty database that every world begins with."""
        self._empty.mkdir()
        with _silence():
            trio.run(self._make_empty)

    async def _make_empty(self) -> None:
        async with open_store(self._empty / "alertd.db"):
            pass

    def judge(self, seed: int) -> Verdict:
        """Run the world of ``seed`` and judge it."""
        folder = self._folder / "world"  # the same for all: its name is in messages
        shutil.copytree(self._empty, folder)
        try:
            with _silence():
                return run_seeded(partial(self._judge, draw_plan(seed), folder), seed)
        finally:
            shutil.rmtree(folder)

    async def _judge(self, plan: Plan, folder: Path) -> Verdict:
        world = World(plan, folder)
        small_slices = mock.patch.object(snapshotter, "PACK_SLICE_BYTES", 300)
        with watched_by(world.disk), world.disk.under_files(), small_slices:
            story = await world.run()
        core = world.last
        assert core is not None, "the last life ended in order"
        async with open_store(world.path, blocking=Inline()) as store:
            remains = await remains_of(store, core.pipeline.engine, core.clock.now_us())
        for row in (*remains.incidents, *remains.notifications):
            story.note(*row)
        return Verdict(plan, story.digest(), tuple(findings(story, remains)), tuple(story.trace))


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

"""What a start costs, and what a snapshot costs those who wait for it.

Owns two measurements in this process. *Replay*: a store of 5,000 series with a rule each is
recovered from its log alone: quiet (every group sleeps), loud (every event is beyond the threshold,
so each group fires and coasts) and hot (averages about the threshold: each event is judged).
*Snapshot*: 100,000 groups are packed while batches of 1000 events are judged every 10 ms; how long
a batch waits, and by how much a sleep of 1 ms is late, before and meanwhile.
"""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from alertd.blocking import Threads
from alertd.config.settings import Config
from alertd.core import new_state
from alertd.engine.engine import Engine
from alertd.engine.inputs import RulesChanged
from alertd.model import US_PER_S, EventBatch, RuleType, Series
from alertd.notify.announce import Announcer
from alertd.rules import RuleChange, RuleRecord, RuleSpec, Source, compile_rule
from alertd.store.snapshots import write_snapshot
from alertd.store.store import open_store
from alertd.upkeep.recovery import recover
from alertd.upkeep.snapshotter import pack_state
from bench.results import ReplayFigures, StallFigures, percentiles

SERIES = 5_000
BATCH_EVENTS = 1_000
REPLAYED = (("quiet", 1.2, 1_000_000), ("loud", -1.0, 2_000_000), ("hot", 0.5, 200_000))
GROUPS = 100_000
BEFORE_S = 2.0
_BEGIN_US = 1_750_000_000_000_000
_METRIC = "latency"


def measure(folder: Path, tell: Callable[[str], None]) -> list[ReplayFigures]:
    """Recover each kind of log. Some 15 s."""
    found = []
    for traffic, threshold, events in REPLAYED:
        tell(f"recovery: {events} events, {traffic} …")
        with TemporaryDirectory(prefix="alertd-bench-", dir=folder) as name:
            path = Path(name) / "alertd.db"
            found.append(trio.run(_measure, path, traffic, threshold, events))
    return found


async def _measure(path: Path, traffic: str, threshold: float, events: int) -> ReplayFigures:
    async with open_store(path) as store:
        rules = tuple(_record(f"r{number}", threshold, number) for number in range(SERIES))
        await store.rules.apply(RuleChange(at_us=_BEGIN_US, put=rules))
        new_series = _series(SERIES)
        for batch in _batches(SERIES, events):
            await store.events.append([batch], new_series)
            new_series = []
    async with open_store(path) as store:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        recovered = await recover(
            store,
            Announcer("http://alertd.example"),
            snapshots=path.with_name("no snapshots"),
            new_state=partial(new_state, Config()),
            on_progress=lambda phrase: None,
        )
        return ReplayFigures(
            traffic=traffic,
            events=recovered.replayed_events,
            events_per_s=events / (time.perf_counter() - began_s),
            events_per_cpu_s=events / (time.process_time() - began_cpu_s),
        )


def measure_stalls(folder: Path, tell: Callable[[str], None]) -> list[StallFigures]:
    """Take a snapshot of many groups while they are judged. Some 10 s."""
    tell(f"recovery: a snapshot of {GROUPS} groups …")
    with TemporaryDirectory(prefix="alertd-bench-", dir=folder) as name:
        return trio.run(_Judged().measure, Path(name))


class _Judged:
    """An engine that is given a batch every 10 ms, and what waits for what."""

    def __init__(self) -> None:
        self._series = _series(GROUPS)
        self._engine = Engine(self._series.__getitem__)
        rule = compile_rule(_record("watch", 1e12, None))
        self._engine.step(RulesChanged(at_us=_BEGIN_US, put=(rule,)))
        self._batches = _batches(GROUPS, 10**12)
        for _ in range(3 * GROUPS // BATCH_EVENTS):
            self._engine.step(next(self._batches))
        self._judging_s: list[float] = []
        self._late_s: list[float] = []

    async def measure(self, folder: Path) -> list[StallFigures]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._judge)
            nursery.start_soon(self._sleep)
            await trio.sleep(BEFORE_S)
            before = self._take_figures("nothing")
            await self._snapshot(folder)
            meanwhile = self._take_figures("a snapshot")
            nursery.cancel_scope.cancel()
        return [before, meanwhile]

    async def _snapshot(self, folder: Path) -> None:
        chunks = []
        for chunk in pack_state(self._engine.dump(), new_state(Config())[1]):
            chunks.append(chunk)
            await trio.lowlevel.checkpoint()
        await Threads().run(partial(write_snapshot, folder, 1, chunks))

    async def _judge(self) -> None:
        while True:
            began_s = time.perf_counter()
            await trio.sleep(0.01)
            self._engine.step(next(self._batches))
            self._judging_s.append(time.perf_counter() - began_s - 0.01)

    async def _sleep(self) -> None:
        while True:
            began_s = time.perf_counter()
            await trio.sleep(0.001)
            self._late_s.append(time.perf_counter() - began_s - 0.001)

    def _take_figures(self, beside: str) -> StallFigures:
        figures = StallFigures(
            beside=beside,
            groups=GROUPS,
            judging=percentiles(self._judging_s),
            loop=percentiles(self._late_s),
        )
        self._judging_s, self._late_s = [], []
        return figures


def _series(count: int) -> list[Series]:
    return [Series(number, _METRIC, (("host", f"web-{number:06}"),)) for number in range(count)]


def _record(name: str, threshold: float, host: int | None) -> RuleRecord:
    spec = RuleSpec(
        name=name,
        type=RuleType.MOVING_WINDOW,
        metric_name=_METRIC,
        aggregate="avg",
        threshold=threshold,
        window_duration_secs=300,
        matchers={} if host is None else {"host": f"web-{host:06}"},
        group_by=("host",) if host is None else (),
    )
    return RuleRecord(id=name, version=1, source=Source.API, created_us=0, updated_us=0, spec=spec)


def _batches(series: int, events: int) -> Iterator[EventBatch]:
    """Yield events of one series after the other, 5,000 a second."""
    source = random.Random(1)  # noqa: S311  # the same values in every run, no secret
    step_us = US_PER_S // 5_000
    for first in range(0, events, BATCH_EVENTS):
        until_us = _BEGIN_US + (first + BATCH_EVENTS) * step_us
        yield EventBatch(
            received_us=until_us,
            series_ids=array("I", [(first + at) % series for at in range(BATCH_EVENTS)]),
            times_us=array("q", [_BEGIN_US + (first + at) * step_us for at in range(BATCH_EVENTS)]),
            values=array("d", [source.random() for _ in range(BATCH_EVENTS)]),
        )

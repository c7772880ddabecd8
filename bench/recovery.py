"""What a start costs, and what a snapshot costs those who wait for it.

Owns two measurements in this process. *Replay*: a store of series with a rule each is recovered
from its log alone: real traces, with thresholds as a person sets them; and 5,000 series that are
quiet (every group sleeps), loud (every event is beyond the threshold, so each group fires and
coasts) or hot (averages about the threshold: each event is judged). *Snapshot*: 100,000 groups are
packed while batches of 1000 events are judged every 10 ms; how long a batch waits, and by how much
a sleep of 1 ms is late, before and meanwhile.
"""

from __future__ import annotations

import random
import statistics
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import apsw
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
from tests.e2e.brute_force import Event
from tests.e2e.traces import TRACES, load_traces

SERIES = 5_000
BATCH_EVENTS = 1_000
TRACED_SERIES, TRACED_EVENTS = 1_000, 2_000_000
LEARNED_SHARE = 0.15
"""Of each trace, at its beginning: from that the Numenta benchmark has detectors learn."""
DEVIATIONS = 3
GROUPS = 100_000
BEFORE_S = 2.0
_BEGIN_US = 1_750_000_000_000_000
_METRIC = "latency"


class _Log(NamedTuple):
    """What is replayed."""

    traffic: str
    series: list[Series]
    rules: list[RuleRecord]
    events: int
    batches: Iterator[EventBatch]


def measure(folder: Path, tell: Callable[[str], None]) -> list[ReplayFigures]:
    """Recover each kind of log; the traces only where there are any. Some 25 s."""
    found = []
    for log in _logs(tell):
        tell(f"recovery: {log.events} events, {log.traffic} …")
        with TemporaryDirectory(prefix="alertd-bench-", dir=folder) as name:
            found.append(trio.run(_measure, Path(name) / "alertd.db", log))
    return found


def _logs(tell: Callable[[str], None]) -> Iterator[_Log]:
    if TRACES.is_dir():
        yield _traced()
    else:
        tell("recovery of real traces is left out: ../shared/data/nab is not there")
    yield _made("quiet", 1.2, 1_000_000)
    yield _made("loud", -1.0, 2_000_000)
    yield _made("hot", 0.5, 200_000)


async def _measure(path: Path, log: _Log) -> ReplayFigures:
    async with open_store(path) as store:
        await store.rules.apply(RuleChange(at_us=log.rules[0].created_us, put=tuple(log.rules)))
        new_series = log.series
        for batch in log.batches:
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
        took_s, took_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        assert recovered.replayed_events == log.events
        incidents = await store.writer.run("count incidents", _count_incidents)
        return ReplayFigures(
            traffic=log.traffic,
            series=len(log.series),
            events=log.events,
            incidents=incidents,
            events_per_s=log.events / took_s,
            events_per_cpu_s=log.events / took_cpu_s,
        )


def _count_incidents(connection: apsw.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM incidents").get)


def _made(traffic: str, threshold: float, events: int) -> _Log:
    rules = [_record(f"r{number}", threshold, number) for number in range(SERIES)]
    return _Log(traffic, _series(SERIES), rules, events, _batches(SERIES, events))


def _traced() -> _Log:
    """Return the end of the traces, each given to so many series, sample by sample in their order.

    A sample comes every five minutes: the rules look at an hour, and late is ten minutes later.
    """
    traces = list(load_traces(_BEGIN_US).values())
    copies = TRACED_SERIES // len(traces)
    numbers = [array("I", range(first, TRACED_SERIES, len(traces))) for first in range(len(traces))]
    samples = sorted(
        (event.time_us, number, event.value)
        for number, trace in enumerate(traces)
        for event in trace
    )[-TRACED_EVENTS // copies :]
    rules = [
        _record(
            f"r{number}",
            _threshold(traces[number % len(traces)]),
            number,
            created_us=samples[0][0] - 1,
            window_s=3600,
            lateness_s=600,
        )
        for number in range(TRACED_SERIES)
    ]

    def batches() -> Iterator[EventBatch]:
        per_batch = BATCH_EVENTS // copies
        for first in range(0, len(samples), per_batch):
            part = samples[first : first + per_batch]
            yield EventBatch(
                received_us=part[-1][0],
                series_ids=array("I", chain.from_iterable(numbers[n] for _, n, _ in part)),
                times_us=array("q", [at for at, _, _ in part for _ in range(copies)]),
                values=array("d", [value for _, _, value in part for _ in range(copies)]),
            )

    return _Log("NAB traces", _series(TRACED_SERIES), rules, len(samples) * copies, batches())


def _threshold(trace: Sequence[Event]) -> float:
    """Return what a person might set who has seen the beginning of a trace."""
    seen = [event.value for event in trace[: round(LEARNED_SHARE * len(trace))]]
    return statistics.fmean(seen) + DEVIATIONS * statistics.pstdev(seen)


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


def _record(
    name: str,
    threshold: float,
    host: int | None,
    *,
    created_us: int = _BEGIN_US,
    window_s: float = 300,
    lateness_s: float = 10,
) -> RuleRecord:
    spec = RuleSpec(
        name=name,
        type=RuleType.MOVING_WINDOW,
        metric_name=_METRIC,
        aggregate="avg",
        threshold=threshold,
        window_duration_secs=window_s,
        allowed_lateness_secs=lateness_s,
        matchers={} if host is None else {"host": f"web-{host:06}"},
        group_by=("host",) if host is None else (),
    )
    return RuleRecord(
        id=name,
        version=1,
        source=Source.API,
        created_us=created_us,
        updated_us=created_us,
        spec=spec,
    )


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

"""What a (rule, group) state and a buffered event cost in memory.

Owns the cases. Each is measured in a process of its own: the growth of its resident memory, over
the number of states or of events, so it includes what the allocator, the table of groups and the
route of each series take. "Quiet" is asleep (``alertd/engine/screen.py``), "firing" has an open
incident.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import psutil

from alertd.arrays import has_numpy
from alertd.engine.engine import Engine
from alertd.engine.inputs import RulesChanged
from alertd.ingest.series import SeriesRegistry
from alertd.model import Evaluate, EventBatch, RuleType
from bench.results import MemoryFigures
from bench.streams import BATCH, BEGIN_US, METRIC, QUIET, Options, in_turn, make_engine, make_rule

_STATES = 200_000
_SERIES = 1_000_000
_EVENT_GROUPS = 5_000
_EVENTS = 200
"""So many are buffered in each of these groups, and then as many more."""

_BUCKETED: Final[Options] = {"type": RuleType.BUCKETED_WINDOW}
_EARLY: Final[Options] = _BUCKETED | {"evaluate": Evaluate.EARLY}
_CASES: Final[dict[str, Options]] = {
    "MOVING_WINDOW avg, quiet": {"aggregate": "avg", "threshold": QUIET},
    "MOVING_WINDOW p95, quiet": {"aggregate": "p95", "threshold": QUIET},
    "MOVING_WINDOW sum, quiet": {"threshold": QUIET},
    "MOVING_WINDOW stddev, quiet": {"aggregate": "stddev", "threshold": QUIET},
    "MOVING_WINDOW avg, firing": {"aggregate": "avg"},
    "MOVING_WINDOW p95, firing": {"aggregate": "p95"},
    "BUCKETED_WINDOW avg, quiet": _BUCKETED | {"aggregate": "avg", "threshold": QUIET},
    "BUCKETED_WINDOW sum, early, quiet": _EARLY | {"threshold": QUIET},
}


def measure(tell: Callable[[str], None]) -> list[MemoryFigures]:
    """Measure every case; ``tell`` is told of each. About two minutes."""
    context = multiprocessing.get_context("spawn")
    found = []
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as processes:
        for case, options in _CASES.items():
            tell(f"memory: {case} …")
            state = processes.submit(_bytes_per_state, options).result()
            full, event = processes.submit(_with_events, options).result()
            found.append(MemoryFigures(case, _STATES, state, full, event))
        tell(f"memory: {_SERIES} series, each with a quiet average …")
        each, whole = processes.submit(_with_series).result()
        found.append(
            MemoryFigures("a series and its average, quiet", _SERIES, each, process_bytes=whole)
        )
    return found


def _bytes_per_state(options: Options) -> float:
    """Return the memory of a group that has seen one event."""
    engine = make_engine([make_rule(10, lateness_events=1, **options)], _STATES)
    return _growth(engine, in_turn(_STATES, series=_STATES, batch=BATCH)) / _STATES


def _with_events(options: Options) -> tuple[float, float]:
    """Return the memory of a group whose window is full, and of an event within it.

    What a group holds once more, because it is awake by then, is not its events': those are what
    as many events again take.
    """
    rule = make_rule(10 * _EVENTS, lateness_events=1, **options)
    engine, events = make_engine([rule], _EVENT_GROUPS), _EVENT_GROUPS * _EVENTS
    full, more = (
        _growth(engine, in_turn(events, series=_EVENT_GROUPS, batch=BATCH, first=first))
        for first in (0, events)
    )
    return (full - more) / _EVENT_GROUPS, more / events


def _with_series() -> tuple[float, int]:
    """Return the memory of a series, its group and its event, and of the whole process."""
    has_numpy()  # what is loaded once is no group's
    gc.collect()
    before = _resident_bytes()
    registry = SeriesRegistry()
    engine = Engine(registry.get)
    rule = make_rule(10, lateness_events=1, aggregate="avg", threshold=QUIET)
    engine.step(RulesChanged(at_us=BEGIN_US, put=(rule,)))
    for batch in in_turn(_SERIES, series=_SERIES, batch=BATCH):
        for number in batch.series_ids:
            registry.lookup(METRIC, b'{"host":"web-%d"}' % number)
        engine.step(batch)
        registry.take_unsaved()  # as the store does
    gc.collect()
    whole = _resident_bytes()
    return (whole - before) / _SERIES, whole


def _growth(engine: Engine, batches: Iterable[EventBatch]) -> int:
    has_numpy()  # what is loaded once is no group's
    gc.collect()
    before = _resident_bytes()
    for batch in batches:
        engine.step(batch)
    gc.collect()
    return _resident_bytes() - before


def _resident_bytes() -> int:
    return psutil.Process().memory_info().rss

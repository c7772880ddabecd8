"""Events for the store's benchmark, as batches ready to append.

Owns what the series of each workload are like: real traces or random walks, on which clocks.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from alertd.model import US_PER_S, EventBatch, Series
from tests.e2e.traces import TRACES, load_traces

BEGIN_US = 1_750_000_000 * US_PER_S
DAY_US = 86_400 * US_PER_S
SEED = 1
_BATCH_EVENTS = 1000

Tick = tuple["array[int]", "array[float]"]
"""Times and values of all series, each once."""


@dataclass(frozen=True)
class Traffic:
    """So many series that report so often."""

    name: str
    series: int
    events: int
    ticks: Callable[[int], Iterator[Tick]]
    """Called with the number of series."""

    def all_series(self) -> list[Series]:
        """Return the series: a metric with three labels each."""
        return [
            Series(
                number,
                f"metric_{number % 10}",
                (("host", f"web-{number // 10:05}"), ("region", "eu-west-1"), ("unit", "percent")),
            )
            for number in range(self.series)
        ]

    def batches(self) -> Iterator[EventBatch]:
        """Yield the events, series after series within a tick."""
        numbers = array("I", range(self.series))
        left = self.events
        received_us = 0
        for times_us, values in self.ticks(self.series):
            received_us = max(received_us, max(times_us))
            for first in range(0, self.series, _BATCH_EVENTS):
                part = slice(first, min(first + _BATCH_EVENTS, self.series, first + left))
                batch = EventBatch(received_us, numbers[part], times_us[part], values[part])
                yield batch
                left -= len(batch)
                if not left:
                    return


def traces(series: int) -> Iterator[Tick]:
    """Yield the traces of the Numenta Anomaly Benchmark, each given to every eighth series.

    A trace that is over begins anew behind its end.
    """
    columns = [
        ([event.time_us for event in trace], [event.value for event in trace])
        for trace in load_traces(BEGIN_US).values()
    ]
    number = 0
    while True:
        times_us, values = [], []
        for trace_us, trace_values in columns:
            rounds, place = divmod(number, len(trace_us))
            times_us.append(
                trace_us[place] + rounds * (trace_us[-1] - trace_us[0] + 300 * US_PER_S)
            )
            values.append(trace_values[place])
        copies = -(-series // len(columns))
        yield array("q", (times_us * copies)[:series]), array("d", (values * copies)[:series])
        number += 1


def walks(
    digits: int | None, *, every_us: int = 10 * US_PER_S, jitter_us: int = 0
) -> Callable[[int], Iterator[Tick]]:
    """Return random walks of a value ``every_us``, rounded to ``digits`` unless that is None.

    Each series has a moment of its own; each report is up to ``jitter_us`` late.
    """

    def ticks(series: int) -> Iterator[Tick]:
        choose = np.random.default_rng(SEED)
        level = choose.uniform(0, 100, series)
        own_us = choose.integers(every_us, size=series) + BEGIN_US
        for number in count():
            level += choose.normal(0, 1, series)
            late_us = choose.integers(jitter_us + 1, size=series)
            times_us = own_us + number * every_us + late_us
            values = level if digits is None else level.round(digits)
            yield array("q", times_us.tobytes()), array("d", values.tobytes())

    return ticks


def workloads() -> Iterator[Traffic]:
    """Yield what is measured; the traces only where there are any."""
    if TRACES.is_dir():
        yield Traffic("NAB traces", 1_000, 2_000_000, traces)
    yield Traffic("walks, 2 digits", 5_000, 1_000_000, walks(2))
    yield Traffic("walks, 2 digits, 1 ms jitter", 5_000, 1_000_000, walks(2, jitter_us=1000))
    yield Traffic("walks, all bits", 5_000, 1_000_000, walks(None))
    yield Traffic("walks, 2 digits, many series", 100_000, 1_000_000, walks(2))
    yield Traffic(
        "walks, 2 digits, 30 days", 1_000, 20_000_000, walks(2, every_us=DAY_US * 30 // 20_000)
    )

"""A start: how long until the daemon takes events, and what it is then.

Owns the cases. Each start is a new process on a store of its own, so the interpreter, the imports
and the making of the store are part of it; what was read from disk once is in the kernel's cache.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from bench.daemon import Daemon
from bench.results import StartFigures, percentiles

STARTS: Final = 10
_IDLE_S: Final = 1.0
"""What is done once after a start is over by then."""

_CONFIGS: Final = {
    "no rules, no channels": "",
    "a rule and a webhook": """
[channels.hook]
type = "webhook"
url = "http://127.0.0.1:9/hook"
[[rules]]
name = "average"
type = "MOVING_WINDOW"
metric_name = "load"
aggregate = "avg"
threshold = 1
window_duration_secs = 10
notifications = ["hook"]
""",
}


def measure(folder: Path) -> Iterator[StartFigures]:
    """Yield the figures of each configuration, of ``STARTS`` starts."""
    for case, config in _CONFIGS.items():
        ready_s, asked_s, cpu_s, idle_bytes, asked_bytes = [], [], [], [], []
        for _ in range(STARTS):
            began_s = time.perf_counter()
            with Daemon(folder, config) as daemon:
                ready_s.append(time.perf_counter() - began_s)
                cpu_s.append(daemon.facts.cpu_s())
                time.sleep(_IDLE_S)
                idle_bytes.append(daemon.facts.resident_bytes())
                asked_s.append(_ask(daemon))
                asked_bytes.append(daemon.facts.resident_bytes())
        yield StartFigures(
            case,
            STARTS,
            percentiles(ready_s),
            sorted(cpu_s)[STARTS // 2],
            max(idle_bytes),
            percentiles(asked_s),
            max(asked_bytes),
        )


def _ask(daemon: Daemon) -> float:
    """Return how long the first request takes that needs the web framework."""
    with closing(daemon.connect()) as connection:
        began_s = time.perf_counter()
        connection.request("GET", "/api/status")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        return time.perf_counter() - began_s

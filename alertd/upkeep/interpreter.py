"""What Python does beside the daemon's work, and when: no request is to wait for it.

A full search for cyclic garbage walks over everything that is alive, 0.1 s with 10,000 groups,
and CPython begins one in the middle of whatever allocates: in a storm. Here one is made when
nothing waits to be judged. Young objects are searched as ever, in well under a millisecond.

Of two threads that both have work in Python each has its turn for ``SWITCH_INTERVAL_S``, which is
5 ms unless said otherwise; and whoever lets go of the interpreter for a system call, as the loop
does for each packet and the writer for each row, waits so long to have it back.

Owns these settings of the process, and puts back what it found. Invariant: a search that is due is
made within ``LONGEST_WAIT_S``, however busy the daemon is. It is put off only by the
rest after the last one, unless so much was found then that another is worth it, and while somebody
has disabled searches.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from alertd.metrics import Metrics

SWITCH_INTERVAL_S: Final = 0.00002
"""The kernel makes some 0.07 ms of it. Loads of any size take as much a second as with more."""
LOOK_EVERY_S: Final = 1.0
DUE_COLLECTIONS: Final = 1
"""After so many collections of objects of middle age a full one is due. CPython waits for ten, in
which requests that are refused leave 70 MB behind."""
LONGEST_WAIT_S: Final = 60.0
"""For a moment in which nothing is to be judged."""
REST: Final = 300
"""Times as long as it took, a collection is followed by a rest, while there is little to find."""
MUCH: Final = 5_000
"""Objects of garbage that are worth a search at once: one that comes soon costs less, and what they
hold on to, as a request that was refused does to its body, is memory that others could use."""

_NEVER: Final = 2**31 - 1


@contextmanager
def tuned() -> Iterator[None]:
    """Have Python begin no full collection by itself, and change threads often, in the block."""
    interval_s, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*thresholds[:2], _NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval_s)


class Collector:
    """Looks for cyclic garbage when ``is_busy`` says that nobody waits. ``run`` it in ``tuned``."""

    def __init__(self, is_busy: Callable[[], bool], metrics: Metrics) -> None:
        self._is_busy = is_busy
        self._metrics = metrics
        self._due_since_s: float | None = None
        self._rest_until_s = 0.0
        self._found_each = 0.0
        """Objects of garbage to a collection of middle age, by the last search."""

    async def run(self) -> None:
        """Look until cancelled. What is alive now, after the start, is never looked at again."""
        gc.collect()  # what is garbage by now would stay for ever
        gc.freeze()
        try:
            while True:
                await trio.sleep(LOOK_EVERY_S)
                self.look()
        finally:
            gc.unfreeze()

    def look(self) -> bool:
        """Collect if that is due and the time is right; return whether it was.

        It is not while somebody has disabled it, as ``snapshotter.py`` does for its time.
        """
        if not gc.isenabled():
            return False
        now_s, collections = trio.current_time(), gc.get_count()[2]
        is_at_rest = now_s < self._rest_until_s and collections * self._found_each < MUCH
        if collections < DUE_COLLECTIONS or is_at_rest:
            return False
        if self._due_since_s is None:
            self._due_since_s = now_s
        if self._is_busy() and now_s - self._due_since_s < LONGEST_WAIT_S:
            return False
        began_s = time.perf_counter()
        found = gc.collect()
        took_s = time.perf_counter() - began_s
        self._metrics.garbage_collection_seconds.observe(took_s)
        self._due_since_s = None
        self._rest_until_s = now_s + REST * took_s
        self._found_each = found / collections
        return True

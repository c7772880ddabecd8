"""The documents are made in threads, and the parser that they need is for one at a time."""

from __future__ import annotations

import gc
import inspect
import threading

import pytest

from alertd.http import wire
from alertd.http.openapi import schemas


class Litter:
    """Garbage; when the first of it is found, another thread may have a turn."""

    is_found = threading.Event()
    other_is_done = threading.Event()

    def __init__(self) -> None:
        self.own = self

    def __del__(self) -> None:
        if not self.is_found.is_set():
            self.is_found.set()
            self.other_is_done.wait(0.2)


def test_two_threads_may_read_docstrings_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else CPython's parser finds that its depth is another's, and raises ``SystemError``."""
    read, thresholds = inspect.getsource, gc.get_threshold()
    main, found = threading.current_thread(), []

    def read_and_litter(module: object) -> str:
        source = read(module)  # type: ignore[arg-type]  # a module
        if threading.current_thread() is main:
            for _ in range(10):
                Litter()
            gc.set_threshold(100)
            gc.enable()
        return source

    def other() -> None:
        Litter.is_found.wait(10)
        found.append(schemas._definitions("alertd.rules"))
        Litter.other_is_done.set()

    monkeypatch.setattr(inspect, "getsource", read_and_litter)
    schemas._definitions.cache_clear()
    thread = threading.Thread(target=other)
    thread.start()
    try:
        gc.disable()
        found.append(schemas._definitions(wire.__name__))
    finally:
        gc.enable()
        gc.set_threshold(*thresholds)
        was_found = Litter.is_found.is_set()
        Litter.is_found.set()
        thread.join()
    assert was_found
    assert len(found) == 2

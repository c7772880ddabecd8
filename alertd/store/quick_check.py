"""Whether the file is sound enough to start on.

Owns what is checked at start, and for how long. SQLite's ``quick_check`` reads the whole file:
1.5 s a gigabyte that is in memory, a minute where the disk has to be asked page by page. A start
must not take so long. So the whole file has ``WHOLE_FILE_S``, which is enough for most; if that is
not, every table but those of events is checked to its end: what is small, and has no checksums
of its own. What holds events has them, and they are compared whenever it is read.
``alertd db check`` checks everything, and more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import structlog

from alertd.store.failures import corrupt

WHOLE_FILE_S: Final = 2.0
EVENT_TABLES: Final = frozenset({"event_log", "blocks"})
"""Tables whose rows have checksums of their own."""

TELL_EVERY_S: Final = 5.0
_LOOK_STEPS: Final = 1000
"""Steps of SQLite between two looks at the clock: some 30 ms, and half a second on a slow disk."""

_log = structlog.get_logger()


def refuse_damaged(connection: apsw.Connection, path: Path) -> None:
    """Raise ``StoreCorrupt`` if SQLite finds the file unsound."""
    began_s = time.monotonic()

    def is_time_up() -> bool:
        return time.monotonic() - began_s >= WHOLE_FILE_S

    connection.set_progress_handler(is_time_up, _LOOK_STEPS, id=is_time_up)
    try:
        _refuse_findings(connection, path, "PRAGMA quick_check(3)")
        return
    except apsw.InterruptError:
        pass
    finally:
        connection.set_progress_handler(None, id=is_time_up)
    for (table,) in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table'"
    ).fetchall():
        if table not in EVENT_TABLES:
            _refuse_findings(connection, path, f"PRAGMA quick_check('{table}')")
    _log.info(
        "stored events are not checked at start: the file is too large; alertd db check does it",
        path=str(path),
        seconds=round(time.monotonic() - began_s, 3),
    )


@contextmanager
def telling(
    connection: apsw.Connection, on_progress: Callable[[str], None], what: str
) -> Iterator[None]:
    """Call ``on_progress`` with ``what`` every ``TELL_EVERY_S`` of long statements."""
    told_s = time.monotonic()

    def tell() -> bool:
        nonlocal told_s
        if time.monotonic() - told_s >= TELL_EVERY_S:
            told_s = time.monotonic()
            on_progress(what)
        return False

    connection.set_progress_handler(tell, _LOOK_STEPS, id=tell)
    try:
        yield
    finally:
        connection.set_progress_handler(None, id=tell)


def _refuse_findings(connection: apsw.Connection, path: Path, check: str) -> None:
    findings = connection.execute(check).fetchall()
    if findings != [("ok",)]:
        raise corrupt(str(path), "; ".join(str(text) for (text,) in findings[:3]))

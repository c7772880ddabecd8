"""The same log without any crash: every entry stepped once, by one engine, from the beginning."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import NamedTuple

import apsw
import trio

from alertd.config.settings import Config
from alertd.core import new_state
from alertd.engine.inputs import Tick
from alertd.notify.announce import Announcer
from alertd.store.store import open_store
from alertd.upkeep.recovery import recover

COLUMNS = (
    *("id", "rule_id", "rule_version", "group_labels", "started_us", "fired_us", "ended_us"),
    *("value", "peak_value", "window_start_us", "window_end_us", "event_time_us", "detected_by"),
    *("end_reason", "continues", "merged_into"),
)
"""All of an incident but when it was detected, which is a matter of the wall clock."""


class Found(NamedTuple):
    """What a database says was found, and told."""

    incidents: dict[str, tuple[object, ...]]
    """By id, in the order of ``COLUMNS``."""
    messages: dict[str, str]
    """How each message was settled, by its idempotency key."""


def found_in(database: Path) -> Found:
    """Read a database that no daemon has open."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        incidents = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM incidents")  # noqa: S608
        messages = connection.execute("SELECT id, status FROM messages")
        return Found(
            {str(row[0]): row for row in incidents},
            {str(key): str(status) for key, status in messages},
        )
    finally:
        connection.close()


def undisturbed(database: Path, folder: Path, now_us: int) -> Found:
    """Run the log of ``database`` once more in ``folder``, as if nothing had been found yet."""
    copy = folder / "undisturbed.db"
    shutil.copy(database, copy)
    connection = apsw.Connection(str(copy))
    for table in ("timeline", "notifications", "attempts", "messages", "incidents"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608  # one of these
    connection.execute("UPDATE meta SET value = 0 WHERE key = 'applied_position'")
    connection.close()
    trio.run(_run, copy, now_us)
    return found_in(copy)


async def _run(path: Path, now_us: int) -> None:
    announcer = Announcer("http://127.0.0.1:0")
    async with open_store(path) as store:
        recovered = await recover(
            store,
            announcer,
            snapshots=path.with_name("none"),
            new_state=partial(new_state, Config()),
            on_progress=lambda _: None,
        )
        transitions = recovered.engine.step(Tick(now_us))
        announced = [each for each in map(announcer.announce, transitions) if each is not None]
        await store.incidents.record(announced, applied=recovered.applied)

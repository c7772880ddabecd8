"""A database of any released schema is opened, knows all it was told, and goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw
import click.testing
import pytest
import structlog
import trio

from alertd.cli import main
from alertd.model import EventBatch
from alertd.store.check import check_store
from alertd.store.schema import MIGRATIONS
from alertd.store.store import open_store
from tests.e2e.daemon import Daemon
from tests.receivers import HttpReceiver, http_receiver
from tests.schemas import scenario
from tests.schemas.make import FOLDER

NEVER_RELEASED = {2}
"""Schemas that one commit left behind together with the next."""
QUARANTINE_SINCE = 3
RELEASED = [number for number in range(1, len(MIGRATIONS) + 1) if number not in NEVER_RELEASED]


def sql_of(schema: int) -> str:
    path = FOLDER / f"schema-{schema}.sql"
    assert path.exists(), (
        f"no database of schema {schema} is kept in {FOLDER}; make it with the code that has this "
        "schema and no later one: python -m tests.schemas.make"
    )
    return path.read_text(encoding="utf-8")


def rebuilt(schema: int, path: Path) -> dict[str, Any]:
    """Make the database of ``schema`` again at ``path``; return what its daemon knew."""
    sql = sql_of(schema)
    path.parent.mkdir(parents=True)
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    assert connection.pragma("user_version") == schema
    connection.close()
    known: dict[str, Any] = json.loads(sql.partition("\n")[0].removeprefix("-- "))
    return known


@pytest.mark.parametrize("schema", RELEASED)
def test_a_database_of_each_schema_is_kept(schema: int) -> None:
    """Each new migration needs one; see the message of ``sql_of``."""
    assert f"pragma user_version={schema};" in sql_of(schema)


@pytest.mark.parametrize("schema", RELEASED)
def test_it_is_migrated_whole(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "state" / "alertd.db"
    rebuilt(schema, path)
    events = trio.run(stored_events, path)
    assert len(events) == scenario.EVENTS + len(scenario.KEYED)
    assert [value for metric, _, value in events if metric == "latency_ms"] == [
        *range(150, 250), 1
    ]  # fmt: skip
    report = check_store(path)
    assert report.is_sound, report.findings
    assert (report.schema, report.rules, report.series) == (len(MIGRATIONS), 2, 4)


async def stored_events(path: Path) -> list[tuple[str, int, float]]:
    async with open_store(path) as store:
        names = {series.id: series.metric_name for series in await store.events.all_series()}
        return [
            (names[number], time_us, value)
            async for entry in store.events.replay(0)
            if isinstance(entry.body, EventBatch)
            for number, time_us, value in zip(
                entry.body.series_ids, entry.body.times_us, entry.body.values, strict=True
            )
        ]


@pytest.mark.parametrize("schema", RELEASED)
def test_the_daemon_knows_what_the_old_one_knew_and_goes_on(tmp_path: Path, schema: int) -> None:
    knew = rebuilt(schema, tmp_path / "state" / "alertd.db")
    assert knew["incidents"]
    with http_receiver() as hook, http_receiver() as down:
        config = scenario.CONFIG.format(hook=hook.url(), down=down.url())
        with Daemon(tmp_path, config) as daemon:
            for what, before in scenario.known(daemon).items():
                # JSON knows no tuples. Time may have added to what was known.
                now = json.loads(json.dumps(before))
                assert {id_: now.get(id_) for id_ in knew[what]} == knew[what]
            daemon.wait_until(
                lambda: told_ids(down) & knew["incidents"].keys(), "a message is sent"
            )
            refused = daemon.get("/api/events/quarantine")["items"]
            assert len(refused) == (1 if schema >= QUARANTINE_SINCE else 0)
            # Of now: groups that were quiet for a day since then are forgotten, and what is older
            # than that is judged by the reconciler.
            new = {"metricName": "error_count", "value": 1, "labels": {"service": "new"}}
            daemon.post_events([new] * 3)
            daemon.wait_until_judged()
            assert [item["currentValue"] for item in new_incidents(daemon)] == [3]


@pytest.mark.parametrize("schema", RELEASED)
def test_a_backup_of_it_is_restored(tmp_path: Path, schema: int) -> None:
    rebuilt(schema, tmp_path / "old" / "backup.db")
    store = tmp_path / "new" / "alertd.db"
    arguments = ["db", "restore", str(tmp_path / "old" / "backup.db"), "--store", str(store)]
    result = click.testing.CliRunner().invoke(main, arguments)
    structlog.reset_defaults()
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["rules"] == 2
    assert check_store(store).is_sound


def told_ids(receiver: HttpReceiver) -> set[str]:
    bodies = [json.loads(request.body) for request in list(receiver.received)]
    return {incident["id"] for body in bodies for incident in body["incidents"]}


def new_incidents(daemon: Daemon) -> list[dict[str, Any]]:
    return [item for item in daemon.history() if item["groupLabels"].get("service") == "new"]

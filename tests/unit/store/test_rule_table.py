"""The rules: rows and log entry together."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from alertd.errors import Conflict
from alertd.model import Evaluate, OnNoData, Operator, RuleType, Severity, Target
from alertd.store.failures import StoreCorrupt
from alertd.store.store import open_store
from tests.unit.store.store_samples import change, firing, record, replayed, seen_by_another


async def test_every_field_of_a_rule_is_there_after_reopening(tmp_path: Path) -> None:
    unusual = record(
        "ünusual \N{GRINNING FACE}",
        type=RuleType.BUCKETED_WINDOW,
        bucket_interval_secs=0.1,
        operator=Operator.NE,
        aggregate="p99.9",
        min_samples=3,
        for_secs=0.000001,
        resolve_threshold=1e-300,
        on_no_data=OnNoData.KEEP,
        evaluate=Evaluate.EARLY,
        group_ttl_secs=7200,
        severity=Severity.CRITICAL,
        description="line\nline",
        runbook_url="https://runbooks.example/",
        is_active=False,
        notifications=(),
    )
    async with open_store(tmp_path / "alertd.db") as store:
        await store.rules.apply(change(unusual, record()))
    async with open_store(tmp_path / "alertd.db") as store:
        assert await store.rules.all() == [record(), unusual]  # by name


async def test_the_tables_read_well_in_the_sqlite3_program(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.rules.apply(change(record()))
        assert seen_by_another(
            store.path,
            "SELECT name, type, metric_name, threshold, window_secs, severity, active FROM rules",
        ) == [("High Error Count", "SIMPLE_COUNT", "error_count", 100.5, 300.0, "warning", 1)]
        assert seen_by_another(
            store.path, "SELECT ordinal, channel, endpoint FROM rule_notifications"
        ) == [(0, "SLACK", "https://hooks.example/services/T0/B0/secret"), (1, "ops", None)]


async def test_an_edit_replaces_the_rule_and_its_notifications(tmp_path: Path) -> None:
    edited = record(version=2, threshold=7.0, notifications=(Target("ops"),))
    async with open_store(tmp_path / "alertd.db") as store:
        await store.rules.apply(change(record()))
        await store.rules.apply(change(edited))
        assert await store.rules.all() == [edited]


async def test_two_rules_can_exchange_their_names(tmp_path: Path) -> None:
    one, two = record("one"), record("two")
    async with open_store(tmp_path / "alertd.db") as store:
        await store.rules.apply(change(one, two))
        exchanged = [
            msgspec.structs.replace(one, version=2, spec=two.spec),
            msgspec.structs.replace(two, version=2, spec=one.spec),
        ]
        await store.rules.apply(change(*exchanged))
        assert await store.rules.all() == exchanged[::-1]


async def test_two_rules_of_one_name_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    namesake = msgspec.structs.replace(record(), id="another")
    async with open_store(tmp_path / "alertd.db") as store:
        await store.rules.apply(change(record()))
        with pytest.raises(Conflict, match="High Error Count"):
            await store.rules.apply(change(record("new"), namesake))
        assert await store.rules.all() == [record()]
        assert len(await replayed(store)) == 1


async def test_a_deleted_rule_leaves_its_incidents(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.rules.apply(change(record()))
        begun = firing()
        await store.incidents.record([begun], applied=1)
        await store.rules.apply(change(deleted=(record().id,)))
        assert await store.rules.all() == []
        assert seen_by_another(store.path, "SELECT * FROM rule_notifications") == []
        assert begun.transition.incident is not None
        found = await store.incidents.get(begun.transition.incident.id)
        assert found is not None
        assert found.item.rule_name == "High Error Count"


async def test_a_rule_that_does_not_decode_is_named(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.rules.apply(change(record()))
        await store.writer.run(
            "damage",
            lambda connection: connection.execute(
                "UPDATE rules SET spec = json_set(spec, '$.colour', 'red')"
            ).fetchall(),
        )
        with pytest.raises(StoreCorrupt, match=rf"rule {record().id}.*colour"):
            await store.rules.all()

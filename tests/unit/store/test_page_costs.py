"""What a page of a list costs: it walks an index, and no further than it may."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw
import msgspec
import pytest

from alertd.outbound import DeliveryStatus, Told
from alertd.store.deliveries import Delivery, DeliveryQuery, read_deliveries
from alertd.store.history import INCIDENT_COLUMNS, HistoryItem, Page, read_page
from alertd.store.incident_query import MAX_LOOKED_AT, HistoryQuery, IncidentState
from alertd.store.store import Store, open_store
from tests.unit.store.store_samples import OPS, START_US, firing, record, settlement

T = TypeVar("T")
Read = Callable[[apsw.Connection], Page[T]]

OF_INCIDENTS: Final = (
    HistoryQuery(),
    HistoryQuery(rule_id="r", from_us=1, to_us=2),
    *(HistoryQuery(state=state) for state in IncidentState),
    *(HistoryQuery(rule_id="r", state=state) for state in IncidentState),
    *(HistoryQuery(told=told) for told in Told),
    *(HistoryQuery(told=told, state=IncidentState.FIRING, from_us=1) for told in Told),
    *(HistoryQuery(status=status, rule_id="r") for status in DeliveryStatus),
)
OF_MESSAGES: Final = (
    DeliveryQuery(),
    DeliveryQuery(channel="ops"),
    DeliveryQuery(incident_id="i"),
    *(DeliveryQuery(status=status) for status in DeliveryStatus),
    *(DeliveryQuery(status=status, channel="ops") for status in DeliveryStatus),
    DeliveryQuery(status=DeliveryStatus.FAILED, incident_id="i", channel="ops"),
)


@pytest.mark.parametrize(
    "read",
    [
        *(partial(read_page, query) for query in OF_INCIDENTS),
        *(partial(read_deliveries, query) for query in OF_MESSAGES),
    ],
)
async def test_no_page_scans_or_sorts_a_table(tmp_path: Path, read: Read[object]) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([firing(START_US + n) for n in range(50)], applied=1)
        plan = await store.writer.run("explain", partial(plan_of, read))
        assert plan
        assert not any("TEMP B-TREE" in step or step.startswith("SCAN ") for step in plan), plan


def plan_of(read: Read[object], connection: apsw.Connection) -> list[str]:
    """Return the plans of what leads to the items of a page, not of what is then read of each."""
    statements: list[tuple[str, object]] = []

    def remember(_cursor: object, sql: str, bindings: object) -> bool:
        statements.append((sql, bindings))
        return True

    connection.exec_trace = remember
    read(connection)
    connection.exec_trace = None
    return [
        row[3]
        for sql, bindings in statements
        if "DESC LIMIT" in sql
        for row in connection.execute("EXPLAIN QUERY PLAN " + sql, bindings)  # type: ignore[arg-type]
    ]


MANY: Final = 2 * MAX_LOOKED_AT
_INCIDENTS: Final = f"""
    WITH numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY})
    INSERT INTO incidents ({", ".join(INCIDENT_COLUMNS)})
    SELECT 'i' || n, rule_id, rule_name, rule_version, severity, threshold, operator, group_labels,
           started_us, fired_us, ended_us, detected_us + n, value, peak_value, window_start_us,
           window_end_us, event_time_us, late_by_us, detected_by, end_reason, continues,
           merged_into, summary
    FROM incidents, numbers WHERE incidents.seq = 1"""  # noqa: S608  # constants
_MESSAGES: Final = """
    INSERT INTO messages (seq, id, channel, group_key, parts, is_open, collapses, status, attempts,
                          created_us, due_us, begun_us, next_attempt_us, settled_us)
    SELECT i.seq, 'm' || i.seq, 'sms', m.group_key, 1, 0, 1, 'SUCCESS', 1, m.created_us, m.due_us,
           m.begun_us, m.next_attempt_us, m.created_us
    FROM incidents i, messages m WHERE i.seq > 2 AND m.seq = 2"""
_NOTIFICATIONS: Final = """
    INSERT INTO notifications (id, incident_seq, rule_id, kind, channel, group_key, created_us,
                               message_seq, repeat_us, view, after_us)
    SELECT 'n' || i.seq, i.seq, i.rule_id, n.kind, 'sms', n.group_key, n.created_us, i.seq, 0,
           n.view, 0
    FROM incidents i, notifications n WHERE i.seq > 2 AND n.seq = 2"""


async def fill(store: Store) -> str:
    """Add an incident that nobody could be told of, and ``MANY`` newer ones that are known.

    Returns the id of that one.
    """
    lost = firing(START_US, targets=(OPS,))
    known = firing(START_US + 1, rule=record("other"))
    await store.incidents.record([lost, known], applied=1)
    outcomes = (DeliveryStatus.FAILED, DeliveryStatus.SUCCESS)
    for begun, outcome in zip((lost, known), outcomes, strict=True):
        await store.outbox.settle([settlement(begun.notifications[0], outcome)])
    for statement in (_INCIDENTS, _MESSAGES, _NOTIFICATIONS):
        await store.writer.run("fill", partial(execute, statement))
    assert lost.transition.incident is not None
    return lost.transition.incident.id


def execute(statement: str, connection: apsw.Connection) -> None:
    connection.execute(statement)


async def test_a_page_costs_the_same_however_few_of_how_many_are_meant(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        lost = await fill(store)
        for query in (
            HistoryQuery(told=Told.FAILED),
            HistoryQuery(status=DeliveryStatus.FAILED),
            HistoryQuery(told=Told.FAILED, state=IncidentState.FIRING),
            HistoryQuery(told=Told.FAILED, rule_id=record().id),
        ):
            found = await walked(store, partial(page_of_incidents, query))
            assert [item.incident.id for page in found for item in page.items] == [lost]
            assert len(found) == MANY // MAX_LOOKED_AT + 1
        of_ops = DeliveryQuery(channel="ops")
        told = await walked(store, partial(page_of_messages, of_ops))
        assert [item.incidents for page in told for item in page.items] == [(lost,)]
        assert len(told) == MANY // MAX_LOOKED_AT + 1
        failed = msgspec.structs.replace(of_ops, status=DeliveryStatus.FAILED)
        [page] = await walked(store, partial(page_of_messages, failed))
        assert [item.incidents for item in page.items] == [(lost,)]


def page_of_incidents(
    query: HistoryQuery, cursor: str | None, connection: apsw.Connection
) -> Page[HistoryItem]:
    return read_page(msgspec.structs.replace(query, cursor=cursor), connection)


def page_of_messages(
    query: DeliveryQuery, cursor: str | None, connection: apsw.Connection
) -> Page[Delivery]:
    return read_deliveries(msgspec.structs.replace(query, cursor=cursor), connection)


async def walked(
    store: Store, read: Callable[[str | None, apsw.Connection], Page[T]]
) -> list[Page[T]]:
    """Return all pages; each took a bounded number of steps of SQLite's machine."""
    pages: list[Page[T]] = []
    cursor: str | None = None
    while not pages or cursor is not None:
        page, steps = await store.writer.run("read", partial(with_steps, partial(read, cursor)))
        assert steps < 60 * MAX_LOOKED_AT
        pages.append(page)
        cursor = page.next_cursor
    return pages


def with_steps(read: Read[T], connection: apsw.Connection) -> tuple[Page[T], int]:
    steps: list[int] = []

    def note(event: dict[str, dict[str, int]]) -> None:
        steps.append(event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"])

    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, note)
    page = read(connection)
    connection.trace_v2(0, None)
    return page, sum(steps)

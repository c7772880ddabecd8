"""Things to put into a store."""

from __future__ import annotations

from array import array
from pathlib import Path

import apsw
import msgspec
import trio

from alertd.model import (
    EndReason,
    EventBatch,
    Incident,
    RuleType,
    Series,
    Target,
    Transition,
    TransitionKind,
    incident_id,
    rule_id_of_name,
)
from alertd.outbound import Announcement, DeliveryStatus, Notification, Outgoing, Settlement, Timing
from alertd.rules import RuleChange, RuleRecord, RuleSpec, Source, compile_rule
from alertd.store.store import Store, open_store

START_US = 1_750_000_000_000_000
SLACK = Target("SLACK", "https://hooks.example/services/T0/B0/secret")
OPS = Target("ops")
APART = Timing(interval_us=0, collapse=False)
"""Each notification is a message of its own, with the notification's id, due at once."""


def batch(
    size: int = 3, *, received_us: int = START_US, ids: tuple[str | None, ...] | None = None
) -> EventBatch:
    return EventBatch(
        received_us=received_us,
        series_ids=array("I", range(size)),
        times_us=array("q", (received_us - place for place in range(size))),
        values=array("d", (place / 7 for place in range(size))),
        ids=ids,
    )


def series(count: int, *, first: int = 0) -> list[Series]:
    return [
        Series(number, "requests", (("host", f"web-{number}"), ("zone", "ä€😀")))
        for number in range(first, first + count)
    ]


def record(name: str = "High Error Count", *, version: int = 1, **changes: object) -> RuleRecord:
    spec = RuleSpec(
        name=name,
        type=RuleType.SIMPLE_COUNT,
        metric_name="error_count",
        threshold=100.5,
        window_duration_secs=300,
        matchers={"service": "payment"},
        group_by=("service",),
        notifications=(SLACK, OPS),
    )
    return RuleRecord(
        id=rule_id_of_name(name),
        version=version,
        source=Source.API,
        created_us=START_US,
        updated_us=START_US + version,
        spec=msgspec.structs.replace(spec, **changes),
    )


def change(*put: RuleRecord, deleted: tuple[str, ...] = ()) -> RuleChange:
    return RuleChange(at_us=START_US, put=put, deleted=deleted)


def firing(
    started_us: int = START_US,
    *,
    rule: RuleRecord | None = None,
    detected_us: int | None = None,
    for_us: int = 0,
    targets: tuple[Target, ...] = (SLACK,),
    timing: Timing = APART,
) -> Announcement:
    compiled = compile_rule(rule or record())
    group = (("service", "payment"),)
    incident = Incident(
        id=incident_id(compiled.id, group, started_us, active_us=0, version=1),
        rule_id=compiled.id,
        rule_version=compiled.version,
        group=group,
        started_us=started_us,
        fired_us=started_us + for_us,
        value=137.0,
        peak_value=137.0,
        window_start_us=started_us - 300_000_000,
        window_end_us=started_us,
        event_time_us=started_us,
        detected_us=started_us + 5 if detected_us is None else detected_us,
    )
    return _announcement(TransitionKind.FIRING, compiled.name, incident, targets, timing)


def resolved(
    begun: Announcement,
    *,
    after_us: int = 1000,
    targets: tuple[Target, ...] = (SLACK,),
    timing: Timing = APART,
) -> Announcement:
    incident = begun.transition.incident
    assert incident is not None
    ended = msgspec.structs.replace(
        incident,
        ended_us=incident.started_us + after_us,
        end_reason=EndReason.RECOVERED,
        peak_value=140.0,
    )
    return _announcement(
        TransitionKind.RESOLVED, begun.transition.rule.name, ended, targets, timing
    )


def _announcement(
    kind: TransitionKind,
    rule_name: str,
    incident: Incident,
    targets: tuple[Target, ...],
    timing: Timing,
) -> Announcement:
    at_us = incident.fired_us if incident.ended_us is None else incident.ended_us
    return Announcement(
        transition=Transition(
            kind=kind,
            rule=compile_rule(record(rule_name)),
            group=incident.group,
            at_us=at_us,
            detected_us=incident.detected_us,
            value=incident.value,
            incident=incident,
        ),
        summary=f"{rule_name} is {kind.value}",
        notifications=tuple(
            Notification(
                id=f"{incident.id}/{kind.value}/{target.channel}",
                incident_id=incident.id,
                rule_id=incident.rule_id,
                kind=kind.value,
                target=target,
                group_key=incident.id,
                timing=timing,
                view=b'{"text":"\xc3\xa4"}',
                created_us=at_us,
            )
            for target in targets
        ),
    )


def settlement(
    told: Notification | Outgoing,
    status: DeliveryStatus,
    *,
    at_us: int = START_US + 10,
    next_attempt_us: int | None = None,
    error: str | None = None,
) -> Settlement:
    """Return what became of the first attempt to tell this."""
    return Settlement(
        id=told.id,
        status=status,
        attempts=1,
        next_attempt_us=at_us if next_attempt_us is None else next_attempt_us,
        last_error=error,
        at_us=at_us,
    )


async def replayed(store: Store, after: int = 0) -> list[tuple[int, EventBatch | RuleChange]]:
    return [(entry.position, entry.body) async for entry in store.events.replay(after)]


def make_store(path: Path) -> None:
    """Make a closed database with something in every table that a check decodes."""

    async def make() -> None:
        async with open_store(path) as store:
            await fill(store)

    trio.run(make)


async def fill(store: Store) -> None:
    """Store 2003 events of 2000 series, a rule that was edited, one that is gone, an incident."""
    await store.events.append([batch(2000), batch(3, ids=("a", None, "b"))], series(2000))
    await store.rules.apply(change(record(), record("other")))
    await store.rules.apply(change(record(version=2), deleted=(record("other").id,)))
    await store.incidents.record([firing()], applied=4)


def change_directly(path: Path, sql: str) -> None:
    """Change the database at ``path`` as no alertd would."""
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()


def seen_by_another(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Return what a second program sees in the database."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return list(connection.execute(sql))
    finally:
        connection.close()

"""The timeline of an incident: what came first stands first, within one instant too."""

from __future__ import annotations

from pathlib import Path

import msgspec

from alertd.outbound import DeliveryStatus, Hold, HoldReason
from alertd.store.store import open_store
from tests.unit.store.store_samples import OPS, SLACK, START_US, firing
from tests.unit.store.test_messages import claim, grouped, incident_of, settled


async def test_what_happened_at_one_instant_stands_in_the_order_in_which_it_came_about(
    tmp_path: Path,
) -> None:
    life = grouped(firing(targets=(SLACK, OPS)), START_US)
    incident_id = incident_of(life)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        await store.incidents.acknowledge(incident_id, "ann", START_US)
        to_slack, to_ops = await claim(store, 0)
        await store.outbox.settle([settled(to_ops, DeliveryStatus.SUCCESS, 0)])
        await store.outbox.settle([settled(to_slack, DeliveryStatus.FAILED, 0)])
        await store.outbox.requeue(to_slack.id, START_US)
        detail = await store.incidents.get(incident_id)
    assert detail is not None
    assert {line.at_us for line in detail.timeline} == {START_US}
    assert [(line.what.value, line.detail.partition(":")[0]) for line in detail.timeline] == [
        ("fired", life.summary),
        ("acknowledged", "ann"),
        ("queued", "SLACK"),
        ("queued", "ops"),
        ("failed", "SLACK"),
        ("requeued", "SLACK"),
        ("sent", "ops"),
    ]


async def test_what_one_commit_decides_stands_in_the_order_of_the_notifications(
    tmp_path: Path,
) -> None:
    life = grouped(firing(targets=(SLACK, OPS)), START_US)
    to_slack, to_ops = life.notifications
    hold = Hold(HoldReason.ESCALATES, "", START_US + 1, "in a second")
    held = msgspec.structs.replace(to_ops, hold=hold)
    life = msgspec.structs.replace(life, notifications=(to_slack, held))
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        detail = await store.incidents.get(incident_of(life))
    assert detail is not None
    assert [line.what.value for line in detail.timeline] == ["fired", "queued", "escalates"]

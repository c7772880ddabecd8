"""What the daemon says of itself, and that saying it brings nothing down."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing

from alertd.delivery.failing import FailingReceivers
from alertd.errors import StoreUnavailable
from alertd.metrics import Metrics
from alertd.notify.flapping import Flapping
from alertd.reports import ConfigurationStatus, Warned
from alertd.rule_checks import RuleSetting
from alertd.rulebook import RuleBook
from alertd.status import Status
from alertd.store.outbox import Outbox
from alertd.upkeep.retention import Retention
from tests.unit.parts import SECOND, Parts, running, snapshotter_of


class UnreadableOutbox:
    """An outbox on a disk that reports errors."""

    def __init__(self) -> None:
        self.asked_twice = trio.Event()
        self._asked = 0

    async def counts(self) -> dict[object, int]:
        self._asked += 1
        if self._asked == 2:
            self.asked_twice.set()
        raise StoreUnavailable("cannot count the notifications: too many open files")


CONFIGURATION = ConfigurationStatus("2025-06-30T15:00:00.000000Z", (Warned("a:1", "x"),), 7)


def status_of(parts: Parts, outbox: UnreadableOutbox) -> Status:
    metrics = Metrics()
    return Status(
        store=replace(parts.store, outbox=cast("Outbox", outbox)),
        pipeline=parts.pipeline,
        snapshotter=snapshotter_of(parts, metrics=metrics),
        recovered=parts.recovered,
        configuration=lambda: CONFIGURATION,
        rulebook=RuleBook((), parts.pipeline, parts.clock.now_us, RuleSetting, lambda rule_id: {}),
        retention=Retention(
            parts.store.retention,
            parts.store.events,
            parts.store.space,
            parts.clock.now_us,
            metrics,
            needed_after_us=parts.clock.now_us,
            rollups_us=SECOND,
        ),
        flapping=Flapping(),
        failing=FailingReceivers(),
        clock=parts.clock,
        metrics=metrics,
    )


async def test_an_outbox_that_cannot_be_read_is_asked_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path) as parts, trio.open_nursery() as nursery:
        outbox = UnreadableOutbox()
        nursery.start_soon(status_of(parts, outbox).run)
        await outbox.asked_twice.wait()
        nursery.cancel_scope.cancel()


async def test_it_is_not_ready_while_an_event_waits_long_for_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alertd.status.SLOW_APPEND_S", 0.05)
    async with running(tmp_path) as parts, trio.open_nursery() as nursery:
        status, release = status_of(parts, UnreadableOutbox()), threading.Event()
        status.ready()
        nursery.start_soon(parts.store.writer.run, "be slow", lambda connection: release.wait())
        nursery.start_soon(parts.pipeline.append, parts.batch(0))
        await trio.sleep(0.01)
        assert status.readiness() is None, "it has not waited for long"
        await trio.sleep(0.1)
        assert "has waited 0 s for its commit, more than 0.05 s" in str(status.readiness())
        release.set()
        await parts.until_judged()
        assert status.readiness() is None

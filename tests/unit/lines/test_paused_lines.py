"""Lines that wait for the store are received when it takes them: live and replay agree."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from alertd.config.lines import LinesConfig
from alertd.engine.engine import Engine
from alertd.engine.inputs import Tick
from alertd.errors import StoreUnavailable
from alertd.http.gate import Gate
from alertd.http.penalty import Penalty
from alertd.ingest.idempotency import KeyedRequest
from alertd.ingest.intake import Intake
from alertd.lines.connection import Connection, Door
from alertd.metrics import Metrics
from alertd.model import US_PER_S, EventBatch, Incident, Transition
from alertd.pipeline.evaluator import rules_changed
from alertd.pipeline.pipeline import Pipeline
from alertd.pipeline.quarantine import Quarantine
from tests.unit.http.fakes import MemoryQuarantine
from tests.unit.lines.test_listener import Client, event
from tests.unit.parts import Parts, record_of, running

DAY_US = 86_400 * US_PER_S


class Refusing:
    """A pipeline whose store takes nothing while a test wants it so."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.is_full = False

    async def append(self, batch: EventBatch, request: KeyedRequest | None = None) -> int:
        if self.is_full:
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("the disk is full")
        return await self._pipeline.append(batch, request)


async def serve(stream: trio.SocketStream, parts: Parts, log: Refusing) -> None:
    """Serve one client whose lines are stored by ``log``."""
    metrics = Metrics()
    quarantine = Quarantine(MemoryQuarantine(), metrics)
    intake = Intake(
        log,
        parts.recovered.registry,
        parts.clock,
        quarantine,
        max_future_skew_us=60 * US_PER_S,
        retention_us=30 * DAY_US,
    )
    gate = Gate((), metrics, bind="127.0.0.1:9470")
    door = Door(intake, gate, Penalty(), metrics, LinesConfig(), send_timeout_s=10)
    async with stream:
        await Connection(stream, door, client="a test", is_trusted=True).run()


def extent(incident: Incident) -> tuple[object, ...]:
    return incident.id, incident.started_us, incident.ended_us, incident.value


async def replayed(parts: Parts, until_us: int) -> list[Transition]:
    """Return what a new engine finds in the log, and by the clock up to ``until_us``."""
    engine = Engine(parts.recovered.registry.get)
    found: list[Transition] = []
    async for entry in parts.store.events.replay(0):
        body = entry.body
        found += engine.step(body if isinstance(body, EventBatch) else rules_changed(body))
    return found + engine.step(Tick(until_us))


async def test_lines_that_waited_for_the_disk_mean_live_what_they_mean_in_a_replay(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    rule = record_of(window_duration_secs=10.0, allowed_lateness_secs=10.0)
    async with running(tmp_path) as parts, trio.open_nursery() as nursery:
        await parts.pipeline.change_rules(put=(rule,))
        log = Refusing(parts.pipeline)
        ours, theirs = trio.socket.socketpair()
        nursery.start_soon(serve, trio.SocketStream(theirs), parts, log)
        client = Client(trio.SocketStream(ours))
        three = [event(labels={"host": "a"})] * 3
        await client.send(*three)
        await client.until_acknowledged(3)
        await trio.sleep(9)
        sent_us = parts.clock.now_us()
        log.is_full = True
        await client.send(*three)
        await trio.sleep(20)
        log.is_full = False
        await client.until_acknowledged(6)
        await trio.sleep(40)
        async with parts.pipeline.evaluator.between_steps:
            until_us = await parts.pipeline.evaluator.tick()
        live = {extent(item.incident) for item in await parts.history()}
        found = await replayed(parts, until_us)
        last = {each.incident.id: each.incident for each in found if each.incident is not None}
        entries = [entry.body async for entry in parts.store.events.replay(0)]
        batches = [body for body in entries if isinstance(body, EventBatch)]
        assert live == set(map(extent, last.values()))
        assert len(live) == 1
        assert batches[-1].received_us >= sent_us + 20 * US_PER_S
        assert abs(batches[-1].times_us[0] - sent_us) < US_PER_S, "it happened when it came first"
        await client.stream.aclose()

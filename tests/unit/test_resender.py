"""Receivers that forget are told again and again; one that is slow or down delays no other."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import prometheus_client
import pytest
import trio
from structlog.testing import capture_logs

from alertd.channels.message import IncidentView
from alertd.channels.protocol import Delivered, Forgetful, Outcome, ReadPages, Retryable
from alertd.delivery.resender import Resender
from alertd.errors import StoreUnavailable
from alertd.model import US_PER_S
from alertd.store.told import Place, Told
from tests.unit.channels.messages import incident


class Outbox:
    """Two pages for every channel, the second with something that cannot be read."""

    def __init__(self) -> None:
        self.failures = 0

    async def told(self, channel: str, place: Place) -> Told:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("read what was told: busy")
        if not place.is_on:
            return Told((), Place(0, is_on=True))
        return Told((b"{}", msgspec.json.encode(incident(id=channel))), None)


class Channel:
    """Keeps when it was told, and what."""

    def __init__(self, interval_s: float, outcome: Outcome = Delivered(), takes_s: float = 0):  # noqa: B008
        self.resend_interval_s = interval_s
        self.outcome = outcome
        self.takes_s = takes_s
        self.rounds: list[tuple[float, list[IncidentView]]] = []

    def succeed(self, former: Forgetful) -> None:
        pass

    async def resend(self, read: ReadPages) -> Outcome:
        began_s = trio.current_time()
        views = [view async for page in read() for view in page]
        self.rounds.append((began_s, views))
        await trio.sleep(self.takes_s)
        return self.outcome


class Metrics:
    """What is counted, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.resends = prometheus_client.Counter(
            "resends", "", ["channel", "outcome"], registry=self.registry
        )

    def count(self, channel: str, outcome: str) -> float | None:
        return self.registry.get_sample_value(
            "resends_total", {"channel": channel, "outcome": outcome}
        )


async def run(
    channels: Mapping[str, Forgetful], outbox: Outbox, metrics: Metrics, *, for_s: float = 200
) -> None:
    resender = Resender(
        outbox, lambda: channels, lambda: round(trio.current_time() * US_PER_S) + 1, metrics
    )
    with trio.move_on_after(for_s):
        await resender.run()


async def test_each_is_told_at_once_and_at_its_interval(
    autojump_clock: trio.testing.MockClock,
) -> None:
    quick, slow = Channel(60), Channel(60, takes_s=500)
    metrics = Metrics()
    await run({"quick": quick, "slow": slow}, Outbox(), metrics)
    assert [round(at) for at, _ in quick.rounds] == [0, 60, 120, 180]
    assert [view.id for _, views in quick.rounds for view in views] == ["quick"] * 4
    assert len(slow.rounds) == 1
    assert metrics.count("quick", "taken") == 4


async def test_what_fails_is_said_once_and_tried_at_the_next_interval(
    autojump_clock: trio.testing.MockClock,
) -> None:
    channel, outbox, metrics = Channel(60, Retryable("it answered 503")), Outbox(), Metrics()
    outbox.failures = 1
    with capture_logs() as lines:
        await run({"peer": channel}, outbox, metrics)
    assert (len(channel.rounds), metrics.count("peer", "failed")) == (3, 4)
    assert [line["event"] for line in lines] == ["what is on cannot be told again"]
    assert "busy" in lines[0]["reason"]


async def test_that_it_works_again_is_said_too(autojump_clock: trio.testing.MockClock) -> None:
    channel, outbox = Channel(60), Outbox()
    outbox.failures = 1
    with capture_logs() as lines:
        await run({"peer": channel}, outbox, Metrics())
    assert [line["log_level"] for line in lines] == ["warning", "info"]


@pytest.mark.parametrize(
    ("asked_s", "rounds"),
    [(90, [0, 90, 180, 270]), (3600, [0, 300]), (5, [0, 60, 120, 180, 240, 300])],
)
async def test_a_receiver_that_asks_to_be_left_alone_is_for_minutes_at_most(
    autojump_clock: trio.testing.MockClock, asked_s: float, rounds: list[int]
) -> None:
    channel = Channel(60, Retryable("it answered 429", wait_s=asked_s, was_refused=True))
    await run({"peer": channel}, Outbox(), Metrics(), for_s=330)
    assert [round(at) for at, _ in channel.rounds] == rounds


async def test_a_channel_that_a_reload_has_exchanged_is_told_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    before = Channel(60, Retryable("it answered 429", wait_s=300, was_refused=True))
    after, channels = Channel(60), dict[str, Forgetful]()
    channels["peer"] = before
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, channels, Outbox(), Metrics())
        await trio.sleep(10)
        channels["peer"] = after
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert len(before.rounds) == 1
    assert round(after.rounds[0][0]) in (10, 11)


async def test_a_fault_of_one_channel_does_not_keep_the_others_from_being_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Broken(Channel):
        async def resend(self, read: ReadPages) -> Outcome:
            raise RuntimeError("secret")

    well, metrics = Channel(60), Metrics()
    with capture_logs() as lines:
        await run({"broken": Broken(60), "well": well}, Outbox(), metrics)
    assert len(well.rounds) == 4
    assert metrics.count("broken", "failed") == 4
    assert lines[0]["reason"].startswith("unexpected RuntimeError in alertd at test_resender.py:")
    assert "secret" not in str(lines)

"""Channels over a reload: which are closed when, and what the old ones send is not overtaken."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from alertd.channels.config import AlertmanagerConfig, ChannelConfig
from alertd.channels.factory import ChannelFactory
from alertd.channels.message import IncidentView
from alertd.delivery.live_channels import LONGEST_ATTEMPT_S, LiveChannels
from alertd.model import Target
from tests.receivers import HttpReceiver, http_receiver
from tests.unit.channels.messages import incident, message, resolved


async def test_what_is_retired_is_closed_in_its_time_however_much_it_is(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[tuple[ChannelFactory, float]] = []

    async def close(factory: ChannelFactory) -> None:
        closed.append((factory, trio.current_time()))

    monkeypatch.setattr(ChannelFactory, "aclose", close)
    channels, retired = LiveChannels({}, allow_private_endpoints=True), list[ChannelFactory]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channels.run)
        for _ in range(3):
            await trio.sleep(10)
            retired.append(channels.replace({}, allow_private_endpoints=True))
            channels.retire(retired[-1])
        before = channels.replace({}, allow_private_endpoints=True)
        channels.put_back(before)
        await trio.sleep(500)
        assert [factory for factory, _ in closed[:3]] == retired
        assert [at - LONGEST_ATTEMPT_S for _, at in closed] == [10, 20, 30, 30]
        assert before not in [factory for factory, _ in closed]
        nursery.cancel_scope.cancel()
    assert closed[-1][0] is before


@pytest.mark.parametrize("is_taken_back", [False, True])
async def test_what_an_alertmanager_is_told_again_never_overtakes_an_end_over_a_reload(
    is_taken_back: bool,
) -> None:
    with http_receiver() as receiver:
        async with _peer(receiver) as channels, trio.open_nursery() as nursery:
            pages = _Pages()
            nursery.start_soon(channels.forgetful()["peer"].resend, pages.read)
            await pages.are_read.wait()
            before = channels.replace(_configs(receiver), allow_private_endpoints=True)
            if is_taken_back:
                channels.put_back(before)
            else:
                channels.retire(before)
            nursery.start_soon(channels.for_target(Target("peer")).send, message(resolved()))
            await trio.testing.wait_all_tasks_blocked()
            assert receiver.received == []
            pages.go_on.set()
        assert _ends(receiver)[1:] == ["2025-06-30T15:07:00.000000Z"]


async def test_another_alertmanager_is_told_at_once_though_the_former_takes_long() -> None:
    with http_receiver() as former, http_receiver() as receiver:
        async with _peer(former) as channels, trio.open_nursery() as nursery:
            pages = _Pages()
            nursery.start_soon(channels.forgetful()["peer"].resend, pages.read)
            await pages.are_read.wait()
            channels.retire(channels.replace(_configs(receiver), allow_private_endpoints=True))
            with trio.fail_after(5):
                await channels.for_target(Target("peer")).send(message(resolved()))
            nursery.cancel_scope.cancel()
        assert _ends(receiver) == ["2025-06-30T15:07:00.000000Z"]


class _Pages:
    """What is on, of which reading takes until ``go_on`` is set."""

    def __init__(self) -> None:
        self.are_read, self.go_on = trio.Event(), trio.Event()

    async def read(self) -> AsyncGenerator[Sequence[IncidentView], None]:
        self.are_read.set()
        await self.go_on.wait()
        yield [incident()]


@asynccontextmanager
async def _peer(receiver: HttpReceiver) -> AsyncIterator[LiveChannels]:
    channels = LiveChannels(_configs(receiver), allow_private_endpoints=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channels.run)
        yield channels
        nursery.cancel_scope.cancel()


def _configs(receiver: HttpReceiver) -> dict[str, ChannelConfig]:
    return {"peer": AlertmanagerConfig(url=receiver.url())}


def _ends(receiver: HttpReceiver) -> list[str]:
    return [json.loads(request.body)[0]["endsAt"] for request in receiver.received]

"""Channels of earlier reloads are closed when no attempt can be left of them."""

from __future__ import annotations

import pytest
import trio

from alertd.channels.factory import ChannelFactory
from alertd.delivery.live_channels import LONGEST_ATTEMPT_S, LiveChannels


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

"""The channels as they are configured now, over a reload.

Owns the exchange of one ``ChannelFactory`` for the next: new attempts use the new channels at
once, attempts under way finish on the old ones, which are closed when no attempt can be left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import trio

from alertd.channels.config import ChannelConfig
from alertd.channels.factory import ChannelFactory
from alertd.channels.protocol import Channel
from alertd.model import Target

LONGEST_ATTEMPT_S: Final = 120.0
"""Longer than any channel's own deadline for one attempt."""


class LiveChannels:
    """Finds the channel of a target in the present configuration. ``run`` it while it is used."""

    def __init__(
        self, configs: Mapping[str, ChannelConfig], *, allow_private_endpoints: bool
    ) -> None:
        """Make the channels. Raises ``InvalidInput`` if one cannot be made."""
        self._allow_private_endpoints = allow_private_endpoints
        self._configs = dict(configs)
        self._factory = self._make(configs)
        self._retired_send, self._retired = trio.open_memory_channel[ChannelFactory](100)

    def names(self) -> frozenset[str]:
        """Return the names of the configured channels."""
        return self._factory.names()

    def for_target(self, target: Target) -> Channel:
        """Return the channel that ``target`` means. Raises ``UnknownChannel``."""
        return self._factory.for_target(target)

    def replace(self, configs: Mapping[str, ChannelConfig]) -> bool:
        """Use ``configs`` from now on; return whether they differ from what was used.

        Raises ``InvalidInput``, changing nothing, if a channel cannot be made.
        """
        if dict(configs) == self._configs:
            return False
        replacement = self._make(configs)
        self._retired_send.send_nowait(self._factory)
        self._factory, self._configs = replacement, dict(configs)
        return True

    async def run(self) -> None:
        """Close channels that are no longer used, until cancelled; then close those in use."""
        try:
            async for factory in self._retired:
                await trio.sleep(LONGEST_ATTEMPT_S)
                await factory.aclose()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await self._factory.aclose()

    def _make(self, configs: Mapping[str, ChannelConfig]) -> ChannelFactory:
        return ChannelFactory(configs, allow_private_endpoints=self._allow_private_endpoints)

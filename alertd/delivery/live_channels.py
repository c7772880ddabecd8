"""The channels as they are configured now, over a reload.

Owns the exchange of one ``ChannelFactory`` for the next: new attempts use the new channels at
once, attempts under way finish on the old ones, which are closed when no attempt can be left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

import trio

from alertd.channels.config import ChannelConfig
from alertd.channels.factory import ChannelFactory
from alertd.channels.protocol import Channel, Forgetful, SendingLimits
from alertd.errors import Overloaded
from alertd.model import Target
from alertd.rule_checks import EMAIL

LONGEST_ATTEMPT_S: Final = 120.0
"""Longer than any channel's own deadline for one attempt."""


class LiveChannels:
    """Finds the channel of a target in the present configuration. ``run`` it while it is used."""

    def __init__(
        self, configs: Mapping[str, ChannelConfig], *, allow_private_endpoints: bool
    ) -> None:
        """Make the channels. Raises ``InvalidInput`` if one cannot be made."""
        self._factory = ChannelFactory(configs, allow_private_endpoints=allow_private_endpoints)
        self._retired_send, self._retired = trio.open_memory_channel[ChannelFactory](100)

    def names(self) -> frozenset[str]:
        """Return what a rule may name: the ``known_channels`` of a ``RuleSetting``."""
        names = self._factory.names()
        return names | {EMAIL} if self._factory.has_mail_server else names

    def for_target(self, target: Target) -> Channel:
        """Return the channel that ``target`` means. Raises ``UnknownChannel``."""
        return self._factory.for_target(target)

    def limits(self, target: Target) -> SendingLimits:
        """Return what may be sent to ``target``."""
        return self._factory.limits(target)

    def forgetful(self) -> Mapping[str, Forgetful]:
        """Return the channels that are to be told again and again what is on."""
        return self._factory.forgetful()

    def replace(
        self, configs: Mapping[str, ChannelConfig], *, allow_private_endpoints: bool
    ) -> None:
        """Use ``configs`` from now on; secrets are read again even if nothing else is new.

        Raises ``InvalidInput``, changing nothing, if a channel cannot be made, and
        ``Overloaded`` when so many reloads came that old channels are still being closed.
        """
        replacement = ChannelFactory(configs, allow_private_endpoints=allow_private_endpoints)
        try:
            self._retired_send.send_nowait(self._factory)
        except trio.WouldBlock:
            raise Overloaded(
                "channels of earlier reloads are still being closed; reload again later",
                retry_after_s=round(LONGEST_ATTEMPT_S),
            ) from None
        self._factory = replacement

    async def run(self) -> None:
        """Close channels that are no longer used, until cancelled; then close those in use."""
        try:
            async for factory in self._retired:
                await trio.sleep(LONGEST_ATTEMPT_S)
                await factory.aclose()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                for factory in (*self._left(), self._factory):
                    await factory.aclose()

    def _left(self) -> Iterator[ChannelFactory]:
        """Yield what was retired and not closed yet."""
        with contextlib.suppress(trio.WouldBlock):
            while True:
                yield self._retired.receive_nowait()

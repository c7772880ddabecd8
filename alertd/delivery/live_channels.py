"""The channels as they are configured now, over a reload.

Owns the exchange of one ``ChannelFactory`` for the next: new attempts use the new channels at
once, attempts under way finish on the old ones, which are closed when no attempt can be left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import trio

from alertd.channels.config import ChannelConfig
from alertd.channels.factory import ChannelFactory
from alertd.channels.protocol import Channel, Forgetful, SendingLimits
from alertd.errors import Overloaded
from alertd.model import Target
from alertd.rule_checks import EMAIL

LONGEST_ATTEMPT_S: Final = 120.0
"""Longer than any channel's own deadline for one attempt."""
MAX_RETIRED: Final = 100
"""Factories of earlier reloads that wait to be closed; there is no reload until one is."""


class _Retired(NamedTuple):
    factory: ChannelFactory
    closes_s: float
    """When no attempt can be left, by trio's clock."""


class LiveChannels:
    """Finds the channel of a target in the present configuration. ``run`` it while it is used."""

    def __init__(
        self, configs: Mapping[str, ChannelConfig], *, allow_private_endpoints: bool
    ) -> None:
        """Make the channels. Raises ``InvalidInput`` if one cannot be made."""
        self._factory = ChannelFactory(configs, allow_private_endpoints=allow_private_endpoints)
        self._retired = deque[_Retired]()
        """The one that is closed first, first."""

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
    ) -> ChannelFactory:
        """Use ``configs`` from now on; secrets are read again even if nothing else is new.

        Returns what was used before, to be given to ``retire``, or to ``put_back`` if the reload
        is taken back. Raises ``InvalidInput``, changing nothing, if a channel cannot be made, and
        ``Overloaded`` when so many reloads came that old channels are still being closed.
        """
        replacement = ChannelFactory(configs, allow_private_endpoints=allow_private_endpoints)
        if len(self._retired) >= MAX_RETIRED:
            raise Overloaded(
                "channels of earlier reloads are still being closed; reload again later",
                retry_after_s=round(LONGEST_ATTEMPT_S),
            )
        before, self._factory = self._factory, replacement
        former = before.forgetful()
        for name, channel in replacement.forgetful().items():
            if name in former:
                channel.succeed(former[name])
        return before

    def put_back(self, before: ChannelFactory) -> None:
        """Use again what was used before the last ``replace``. It cannot fail."""
        replacement, self._factory = self._factory, before
        self.retire(replacement)

    def retire(self, factory: ChannelFactory) -> None:
        """Close ``factory`` when no attempt can be left of it; no more begin."""
        self._retired.append(_Retired(factory, trio.current_time() + LONGEST_ATTEMPT_S))

    async def run(self) -> None:
        """Close channels that are no longer used, until cancelled; then close those in use."""
        try:
            while True:
                # What is retired meanwhile is closed later than that.
                next_s = trio.current_time() + LONGEST_ATTEMPT_S
                await trio.sleep_until(self._retired[0].closes_s if self._retired else next_s)
                while self._retired and self._retired[0].closes_s <= trio.current_time():
                    await self._retired.popleft().factory.aclose()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                for factory in (*(retired.factory for retired in self._retired), self._factory):
                    await factory.aclose()

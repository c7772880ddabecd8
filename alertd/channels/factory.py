"""Channels, made from the configuration and from the endpoints that rules name.

Owns which channel a rule's ``Target`` means, and the life of what channels hold open.

A target either names a configured channel, or is a type with an endpoint of its own. The
latter are made on demand and hold nothing (``endpoints.py``), and an ``EMAIL`` endpoint goes
through the server of the first e-mail channel of the configuration. So there is nothing to evict,
however many endpoints rules name. What makes a channel of which type is ``kinds/``'s.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from alertd.channels.check import channel_problems
from alertd.channels.config import AlertmanagerConfig, ChannelConfig
from alertd.channels.kinds import kind_of
from alertd.channels.protocol import (
    Addressable,
    Channel,
    Forgetful,
    SendingLimits,
    UnknownChannel,
)
from alertd.errors import InvalidInput, Problem
from alertd.model import Target

if TYPE_CHECKING:
    from alertd.channels.endpoints import Endpoints


class ChannelFactory:
    """The channels of one configuration.

    ``allow_private_endpoints`` lets endpoints set over the API lead to loopback and private
    addresses (``notify.allow_private_endpoints``). Raises ``InvalidInput`` with every problem
    (paths ``/channels/NAME/…``) if a channel cannot be made.
    """

    def __init__(
        self,
        configs: Mapping[str, ChannelConfig],
        *,
        allow_private_endpoints: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        problems = [
            Problem(f"/channels/{name}{problem.path}", problem.message)
            for name, config in configs.items()
            for problem in channel_problems(config, environ)
        ]
        if problems:
            raise InvalidInput(problems)
        self._allow_private_endpoints = allow_private_endpoints
        self._endpoints: Endpoints | None = None
        self._channels = {
            name: kind_of(config).make(name, config, environ) for name, config in configs.items()
        }
        by_mail = (each for each in self._channels.values() if isinstance(each, Addressable))
        self._mail = next(by_mail, None)
        self._limits = {
            name: SendingLimits(_concurrency(config), config.max_per_minute)
            for name, config in configs.items()
        }

    def names(self) -> frozenset[str]:
        """Return the names of the configured channels."""
        return frozenset(self._channels)

    @property
    def has_mail_server(self) -> bool:
        """Whether an e-mail endpoint of a rule can be sent to."""
        return self._mail is not None

    def for_target(self, target: Target) -> Channel:
        """Return the channel that ``target`` means. Raises ``UnknownChannel`` if there is none."""
        if target.endpoint is None:
            channel = self._channels.get(target.channel)
            if channel is None:
                raise UnknownChannel(
                    f"the channel {target.channel!r} is not configured; "
                    f"add [channels.{target.channel}] or change the rule"
                )
            return channel
        if target.channel == "EMAIL":
            return self._email_endpoint(target.endpoint)
        return self._http_endpoint(target.channel, target.endpoint)

    def limits(self, target: Target) -> SendingLimits:
        """Return what may be sent to ``target``; an endpoint that a rule names has no limits."""
        limits = self._limits.get(target.channel) if target.endpoint is None else None
        return limits or SendingLimits()

    def forgetful(self) -> dict[str, Forgetful]:
        """Return the channels that are to be told again and again what is on."""
        return {
            name: channel
            for name, channel in self._channels.items()
            if isinstance(channel, Forgetful)
        }

    async def aclose(self) -> None:
        """Close everything. No ``send`` may be under way or follow."""
        for channel in self._channels.values():
            await channel.aclose()
        if self._endpoints is not None:
            await self._endpoints.aclose()

    def _email_endpoint(self, address: str) -> Channel:
        if self._mail is None:
            raise UnknownChannel(
                "an EMAIL target needs a mail server: configure one channel with type = 'email'"
            )
        return self._mail.to(address)

    def _http_endpoint(self, kind: str, url: str) -> Channel:
        if self._endpoints is None:
            self._endpoints = self._load_endpoints()
        return self._endpoints.channel(kind, url)

    def _load_endpoints(self) -> Endpoints:
        from alertd.channels.endpoints import Endpoints  # loads an HTTP client, which takes long

        return Endpoints(allow_private=self._allow_private_endpoints)


def _concurrency(config: ChannelConfig) -> int | None:
    """Return how many attempts at a time: an Alertmanager is told one thing after the other."""
    return 1 if isinstance(config, AlertmanagerConfig) else config.concurrency

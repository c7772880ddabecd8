"""Channels of the endpoints that rules name: posts to an address that somebody set over the API.

Owns the one guarded HTTP client that all of them share, so a channel holds nothing of its own.
"""

from __future__ import annotations

from typing import Final

from alertd.channels.http_client import HttpClient
from alertd.channels.protocol import BadEndpoint, Channel
from alertd.channels.slack import SlackChannel
from alertd.channels.url import url_problem
from alertd.channels.webhook import WebhookChannel

TIMEOUT_S: Final = 10.0


class Endpoints:
    """Makes the channels, for as long as it is not closed."""

    def __init__(self, *, allow_private: bool) -> None:
        """``allow_private`` lets them lead to loopback and private addresses."""
        self._client = HttpClient(allow_private=allow_private)

    def channel(self, kind: str, url: str) -> Channel:
        """Return the channel of a target of the type ``kind``. Raises ``BadEndpoint``."""
        if problem := url_problem(url):
            raise BadEndpoint(f"the endpoint of this {kind} target {problem}")
        if kind == "SLACK":
            return SlackChannel(url, self._client, owns_client=False, timeout_s=TIMEOUT_S)
        if kind == "WEBHOOK":
            return WebhookChannel(url, self._client, owns_client=False, timeout_s=TIMEOUT_S)
        raise BadEndpoint(f"{kind!r} with an endpoint is none of EMAIL, SLACK and WEBHOOK")

    async def aclose(self) -> None:
        """Close the client. No ``send`` may be under way or follow."""
        await self._client.aclose()

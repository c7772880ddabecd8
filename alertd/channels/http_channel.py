"""What the channels that POST to one address have in common.

Owns the address, its redacted form, and the client's life. Leaves bodies, headers and the
attempt itself to ``webhook.py`` and ``slack.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from alertd.channels.http_client import HttpClient
from alertd.channels.redact import redact_url


class HttpChannel:
    """One address behind a client. It closes ``client`` only if it is its own."""

    def __init__(
        self,
        url: str,
        client: HttpClient,
        *,
        owns_client: bool,
        timeout_s: float,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._url = httpx.URL(url)
        self._client = client
        self._owns_client = owns_client
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._redacted = redact_url(url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._redacted})"

    @property
    def redacted_endpoint(self) -> str:
        """Scheme, host and port: the path may be the secret."""
        return self._redacted

    async def aclose(self) -> None:
        """Close the client, if it is this channel's own."""
        if self._owns_client:
            await self._client.aclose()

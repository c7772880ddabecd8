"""The webhook: a ``Message`` as JSON by HTTP POST, signed if a key is set.

Owns the default body, the headers and the signature (API.md, last section); ``encode`` makes
another body of the message. Leaves the connection and the meaning of a status to
``http_client.py``.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

import msgspec

from alertd.channels.http_channel import HttpChannel
from alertd.channels.http_client import HttpClient, Reply, judge
from alertd.channels.message import Message
from alertd.channels.protocol import Outcome
from alertd.channels.secret import Secret

_encoder = msgspec.json.Encoder()


def sign(key: bytes, body: bytes, unix_s: int) -> str:
    """Return the ``X-Alertd-Signature`` of ``body``: ``t=<unix_s>,v1=<hex>``.

    The HMAC-SHA256 is over ``<unix_s>.<body>``, so that an old body cannot be sent again as new.
    """
    digest = hmac.new(key, b"%d.%b" % (unix_s, body), hashlib.sha256).hexdigest()
    return f"t={unix_s},v1={digest}"


class WebhookChannel(HttpChannel):
    """Posts to one address. It closes ``client`` only if it is its own (``owns_client``)."""

    def __init__(
        self,
        url: str,
        client: HttpClient,
        *,
        owns_client: bool,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        secret: Secret | None = None,
        encode: Callable[[Message], bytes] = _encoder.encode,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(url, client, owns_client=owns_client, timeout_s=timeout_s, now_s=now_s)
        self._headers = dict(headers or {})
        self._secret = secret
        self._encode = encode

    async def send(self, message: Message) -> Outcome:
        """Post ``message`` once."""
        body = self._encode(message)
        headers = self._headers | {
            "Content-Type": "application/json",
            "Idempotency-Key": message.idempotency_key,
        }
        if self._secret is not None:
            key = self._secret.reveal().encode()
            headers["X-Alertd-Signature"] = sign(key, body, int(self._now_s()))
        reply = await self._client.post(self._url, body, headers, self._timeout_s)
        if isinstance(reply, Reply):
            return judge(reply, self._url.host, self._now_s())
        return reply

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
from typing import Final

import msgspec

from alertd.channels.http_channel import HttpChannel
from alertd.channels.http_client import HttpClient, Reply, judge
from alertd.channels.message import Message
from alertd.channels.protocol import Outcome
from alertd.channels.secret import Secret, reveal
from alertd.channels.templates.filters import plain
from alertd.channels.words import Form, Words, json_text

JSON: Final = "application/json"
JSON_TEXT: Final = Form(json_text, 262_144, is_json=True)
"""A body that is a template for JSON: values are escaped for it."""
ANY_TEXT: Final = Form(plain, 262_144)

_encoder = msgspec.json.Encoder()


def body_form(content_type: str) -> Form:
    """Return what the template of a body with this media type makes: JSON, or any text."""
    media_type = content_type.partition(";")[0].strip().lower()
    is_json = media_type == JSON or media_type.endswith("+json")  # RFC 6839
    return JSON_TEXT if is_json else ANY_TEXT


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
        headers: Mapping[str, Secret] | None = None,
        secret: Secret | None = None,
        encode: Callable[[Message], bytes] = _encoder.encode,
        words: Words | None = None,
        content_type: str = JSON,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(url, client, owns_client=owns_client, timeout_s=timeout_s, now_s=now_s)
        self._headers = dict(headers or {})
        self._secret = secret
        self._encode = encode
        self._words = words or Words(None, None)
        self._content_type = content_type

    async def send(self, message: Message) -> Outcome:
        """Post ``message`` once."""
        worded = self._words.of(message)
        body = self._encode(message) if worded.body is None else worded.body.encode()
        headers = reveal(self._headers) | {
            "Content-Type": JSON if worded.body is None else self._content_type,
            "Idempotency-Key": message.idempotency_key,
        }
        if self._secret is not None:
            key = self._secret.reveal().encode()
            headers["X-Alertd-Signature"] = sign(key, body, int(self._now_s()))
        reply = await self._client.post(self._url, body, headers, self._timeout_s)
        if not isinstance(reply, Reply):
            return reply
        outcome = judge(reply, self._url.host, self._now_s())
        return worded.noted(outcome)

"""``POST /api/events``: the way in.

Owns the reply. 202 means that everything ``accepted`` is durable. Decoding is ``decode.py``'s,
admission and durability are the intake's; a client that goes away while it waits for its
receipt cancels the waiting only.

With the header ``Idempotency-Key`` (1 to 200 printable ASCII characters) a request that was
answered 202 is answered with the same bytes again and stores nothing, for
``engine.dedup_horizon_secs``; another request under its key is 422. "The same" is the body, byte
for byte, with its content type and ``atomic``. Requests that were not accepted are not
remembered, so the key can be used again for a mended one.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from quart import Blueprint, Response, request

from alertd.errors import Problem
from alertd.http.body import read_body
from alertd.http.decode import MediaType, decode_events
from alertd.http.query import InvalidParameters, Parameters
from alertd.http.services import Services
from alertd.http.wire import MAX_ERRORS, EventReceipt, encode, error_items
from alertd.idempotency import MAX_KEY_CHARS, identify
from alertd.intake import Answer, Receipt

KEY_HEADER: Final = "Idempotency-Key"


class EventRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._intake = services.intake
        self._requests = services.requests
        self._max_events = services.limits.max_events_per_request

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("events", __name__)
        routes.add_url_rule("/api/events", "post", self.post, methods=["POST"])
        return routes

    async def post(self) -> Response:
        """Take events: a JSON object, a JSON array, or NDJSON."""
        parameters = Parameters(request.args, "atomic")
        atomic = parameters.flag("atomic")
        parameters.check()
        key = _idempotency_key()
        body, media_type = await read_body(MediaType)
        if key is None:
            reply = await self._accept(body, media_type, atomic=atomic)
        else:
            reply = await self._accept_once(key, body, media_type, atomic=atomic)
        return Response(reply, HTTPStatus.ACCEPTED.value, content_type="application/json")

    async def _accept_once(
        self, key: str, body: bytes, media_type: MediaType, *, atomic: bool
    ) -> bytes:
        request_id = identify(key, media_type.value.encode(), b"atomic" if atomic else b"", body)
        answer = Answer(request_id, _encode_receipt)

        async def accept() -> bytes:
            return await self._accept(body, media_type, atomic=atomic, answer=answer)

        return await self._requests.answer_once(request_id, accept)

    async def _accept(
        self, body: bytes, media_type: MediaType, *, atomic: bool, answer: Answer | None = None
    ) -> bytes:
        # From here to the intake nothing awaits, so receive times never decrease.
        received_us = self._intake.now_us()
        draft = decode_events(
            body,
            media_type,
            registry=self._intake.registry,
            received_us=received_us,
            max_events=self._max_events,
        )
        receipt = await self._intake.submit(draft, received_us, atomic=atomic, answer=answer)
        return _encode_receipt(receipt)


def _idempotency_key() -> str | None:
    """Return the request's key, None if it has none. Raises ``InvalidParameters`` (400)."""
    given = request.headers.getlist(KEY_HEADER)
    if not given:
        return None
    key = given[0]
    if len(given) == 1 and 0 < len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable():
        return key
    text = f"the header {KEY_HEADER} must be given once, 1 to {MAX_KEY_CHARS} printable characters"
    raise InvalidParameters([Problem("", text)])


def _encode_receipt(receipt: Receipt) -> bytes:
    return encode(
        EventReceipt(
            accepted=receipt.accepted,
            duplicates=receipt.duplicates,
            rejected=receipt.rejected,
            errors=error_items(receipt.problems),
            errors_truncated=len(receipt.problems) > MAX_ERRORS,
        )
    )

"""``POST /api/events``: the way in.

Owns the reply. 202 means that everything ``accepted`` is durable. Decoding is ``decode.py``'s,
admission and durability are the intake's; a client that goes away while it waits for its
receipt cancels the waiting only.
"""

from __future__ import annotations

from http import HTTPStatus

from quart import Blueprint, Response, request

from alertd.errors import InvalidInput
from alertd.http.body import read_body
from alertd.http.decode import MediaType, decode_events
from alertd.http.query import Parameters
from alertd.http.services import Services
from alertd.http.wire import MAX_ERRORS, EventReceipt, error_items, json_response
from alertd.intake import Draft, Receipt


class EventRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._intake = services.intake
        self._max_events = services.limits.max_events_per_request
        self._rejected = services.metrics.events_rejected

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
        body, media_type = await read_body(MediaType)
        # From here to the intake nothing awaits, so receive times never decrease.
        received_us = self._intake.now_us()
        draft = decode_events(
            body,
            media_type,
            registry=self._intake.registry,
            received_us=received_us,
            max_events=self._max_events,
        )
        return _reply(await self._submit(draft, received_us, atomic=atomic))

    async def _submit(self, draft: Draft, received_us: int, *, atomic: bool) -> Receipt:
        malformed = draft.rejected
        try:
            receipt = await self._intake.submit(draft, received_us, atomic=atomic)
        except InvalidInput:
            self._count(malformed, draft.rejected)
            raise
        self._count(malformed, receipt.rejected)
        return receipt

    def _count(self, malformed: int, rejected: int) -> None:
        if rejected:
            self._rejected.labels("malformed").inc(malformed)
            self._rejected.labels("time").inc(rejected - malformed)


def _reply(receipt: Receipt) -> Response:
    reply = EventReceipt(
        accepted=receipt.accepted,
        duplicates=receipt.duplicates,
        rejected=receipt.rejected,
        errors=error_items(receipt.problems),
        errors_truncated=len(receipt.problems) > MAX_ERRORS,
    )
    return json_response(reply, HTTPStatus.ACCEPTED)

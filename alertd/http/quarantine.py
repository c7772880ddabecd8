"""``GET /api/events/quarantine``: what was refused, why, and when.

Owns the parameters. An event is listed within a second of its refusal; the sender has been told
at once. Leaves what is kept, and for how long, to the quarantine.
"""

from __future__ import annotations

from quart import Response, request

from alertd.http.event_replies import quarantine_list
from alertd.http.query import Parameters
from alertd.http.responses import json_response
from alertd.http.routes import Handlers
from alertd.http.services import Services
from alertd.model import RefusalReason
from alertd.store.quarantine import QuarantineQuery


class QuarantineRoutes:
    """The handler, with what it needs."""

    def __init__(self, services: Services) -> None:
        self._quarantine = services.quarantine

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {"listQuarantine": self.list}

    async def list(self) -> Response:
        """List refused events, the newest first; ``reason``, ``limit`` and ``cursor``."""
        parameters = Parameters(request.args, "reason", "limit", "cursor")
        query = QuarantineQuery(
            reason=parameters.choice("reason", RefusalReason),
            limit=parameters.limit(),
            cursor=parameters.text("cursor"),
        )
        parameters.check()
        page = await self._quarantine.page(query)
        return json_response(quarantine_list(page))

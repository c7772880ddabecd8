"""``/api/history`` and ``/api/incidents``: what fired, why, and who was told.

Owns the parameters of the queries. Leaves reading to the store and what is shown to
``incident_replies.py``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct
from quart import Response, request

from alertd.errors import InvalidInput, NotFound, Problem
from alertd.http import strict
from alertd.http.body import read_body
from alertd.http.incident_replies import history_list, incident_reply
from alertd.http.query import Parameters
from alertd.http.responses import json_response
from alertd.http.routes import Handlers
from alertd.http.services import Services
from alertd.outbound import DeliveryStatus, Told
from alertd.store.incident_query import HistoryQuery, IncidentState

MAX_ACK_BYTES: Final = 4096
MAX_BY_CHARS: Final = 200


class AckMedia(StrEnum):
    """Content types of an acknowledgement."""

    JSON = "application/json"


class AckBody(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What may be said with an acknowledgement."""

    by: str = ""
    """Who has seen it."""


class IncidentRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._incidents = services.incidents
        self._notifier = services.notifier
        self._rules = services.rules

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {
            "listHistoryOfRule": self.history_of_rule,
            "listHistory": self.history,
            "listIncidents": self.history,
            "getIncident": self.get,
            "acknowledgeIncident": self.acknowledge,
        }

    async def acknowledge(self, incident_id: str) -> Response:
        """Stop repeating an incident; the body may say who asks."""
        Parameters(request.args).check()
        by = ""
        if await request.get_data(cache=True):
            body, _ = await read_body(AckMedia, max_bytes=MAX_ACK_BYTES)
            by = strict.to_struct(strict.parse(strict.to_text(body), unique=True), AckBody).by
        if len(by) > MAX_BY_CHARS or (by and not by.isprintable()):
            raise InvalidInput(
                [Problem("/by", f"must be at most {MAX_BY_CHARS} printable characters")]
            )
        await self._notifier.acknowledge(incident_id, by)
        return await self.get(incident_id)

    async def history(self) -> Response:
        """List the incidents of all rules, the newest first."""
        return await self._page(rule_id=None)

    async def history_of_rule(self, rule_id: str) -> Response:
        """List the incidents of one rule; of a deleted one too, as long as there are any."""
        return await self._page(rule_id)

    async def get(self, incident_id: str) -> Response:
        """Show one incident with its timeline."""
        Parameters(request.args).check()
        detail = await self._incidents.get(incident_id)
        if detail is None:
            raise NotFound(f"there is no incident with the id {incident_id[:100]!r}")
        return json_response(incident_reply(detail, self._notifier.is_flapping))

    async def _page(self, rule_id: str | None) -> Response:
        query = _query(rule_id)
        page = await self._incidents.history(query)
        if rule_id is not None and not page.items and page.next_cursor is None:
            self._rules.get(rule_id)  # which raises if there is no such rule either
        return json_response(history_list(page, self._notifier.is_flapping))


def _query(rule_id: str | None) -> HistoryQuery:
    parameters = Parameters(
        request.args, "from", "to", "status", "told", "state", "limit", "cursor"
    )
    from_us, to_us = parameters.span()
    query = HistoryQuery(
        rule_id=rule_id,
        from_us=from_us,
        to_us=to_us,
        status=parameters.choice("status", DeliveryStatus),
        told=parameters.choice("told", Told),
        state=parameters.choice("state", IncidentState),
        limit=parameters.limit(),
        cursor=parameters.text("cursor"),
    )
    parameters.check()
    return query

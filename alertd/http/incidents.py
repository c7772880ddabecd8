"""``/api/history`` and ``/api/incidents``: what fired, why, and who was told.

Owns the parameters of the queries. Leaves reading to the store and what is shown to ``wire.py``.
"""

from __future__ import annotations

from quart import Blueprint, Response, request

from alertd.errors import InvalidInput, NotFound
from alertd.http import wire
from alertd.http.query import InvalidParameters, Parameters
from alertd.http.services import Services
from alertd.model import DeliveryStatus
from alertd.store.history import HistoryQuery, IncidentState


class IncidentRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._incidents = services.incidents
        self._rules = services.rules

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("incidents", __name__)
        of_rule = "/api/alerts/<rule_id>/history"
        routes.add_url_rule(of_rule, "history_of_rule", self.history_of_rule, methods=["GET"])
        routes.add_url_rule("/api/history", "history", self.history, methods=["GET"])
        routes.add_url_rule("/api/incidents", "list", self.history, methods=["GET"])
        routes.add_url_rule("/api/incidents/<incident_id>", "get", self.get, methods=["GET"])
        return routes

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
        return wire.json_response(wire.incident_reply(detail))

    async def _page(self, rule_id: str | None) -> Response:
        query = _query(rule_id)
        try:
            page = await self._incidents.history(query)
        except InvalidInput as error:
            raise InvalidParameters(error.problems) from error
        if rule_id is not None and not page.items:
            self._rules.get(rule_id)  # which raises if there is no such rule either
        return wire.json_response(wire.history_list(page))


def _query(rule_id: str | None) -> HistoryQuery:
    parameters = Parameters(request.args, "from", "to", "status", "state", "limit", "cursor")
    from_us, to_us = parameters.span()
    query = HistoryQuery(
        rule_id=rule_id,
        from_us=from_us,
        to_us=to_us,
        status=parameters.choice("status", DeliveryStatus),
        state=parameters.choice("state", IncidentState),
        limit=parameters.limit(),
        cursor=parameters.text("cursor"),
    )
    parameters.check()
    return query

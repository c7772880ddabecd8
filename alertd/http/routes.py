"""Every route there is, in one table: what is asked how, and what one must be allowed.

Owns paths, methods, the name of each operation, and its scope. The web framework's routes, the
express lane, authorisation and the description of the interface are all made from ``ROUTES``,
so none of them can know a route that the others do not. A resource's own file holds its
handlers, by the name of the operation.

Invariant: a request whose route is not in the table is denied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from alertd.access import Scope

if TYPE_CHECKING:
    from quart import Response

Handler: TypeAlias = "Callable[..., Awaitable[Response]]"
Handlers: TypeAlias = Mapping[str, Handler]
"""What answers each operation, by its name; it is called with the parameters in the path."""


WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods of requests whose bodies are read, even where nothing is made of them."""


class Route(NamedTuple):
    """One operation."""

    method: str
    path: str
    """As werkzeug writes it: ``<name>`` is a parameter."""
    operation: str
    """Its name, ``operationId`` in OpenAPI; the web framework's endpoint."""
    scope: Scope | None
    """What a caller must be allowed; None if anybody may ask, with no token at all."""


PUSH_EVENTS: Final = Route("POST", "/api/events", "pushEvents", Scope.INGEST)
GET_METRICS: Final = Route("GET", "/metrics", "getMetrics", Scope.READ)
GET_HEALTH: Final = Route("GET", "/healthz", "getHealth", None)
GET_READINESS: Final = Route("GET", "/readyz", "getReadiness", None)

PLAIN: Final = (PUSH_EVENTS, GET_METRICS, GET_HEALTH, GET_READINESS)
"""What is asked all the time; the express lane has them, where a request is plain."""

ROUTES: Final = (
    PUSH_EVENTS,
    Route("GET", "/api/events", "listEvents", Scope.READ),
    Route("GET", "/api/events/quarantine", "listQuarantine", Scope.READ),
    Route("GET", "/api/series", "listSeries", Scope.READ),
    Route("GET", "/api/alerts", "listRules", Scope.READ),
    Route("POST", "/api/alerts", "createRule", Scope.WRITE),
    Route("GET", "/api/alerts/<rule_id>", "getRule", Scope.READ),
    Route("PUT", "/api/alerts/<rule_id>", "replaceRule", Scope.WRITE),
    Route("PATCH", "/api/alerts/<rule_id>", "editRule", Scope.WRITE),
    Route("DELETE", "/api/alerts/<rule_id>", "deleteRule", Scope.WRITE),
    Route("GET", "/api/alerts/<rule_id>/history", "listHistoryOfRule", Scope.READ),
    Route("GET", "/api/history", "listHistory", Scope.READ),
    Route("GET", "/api/incidents", "listIncidents", Scope.READ),
    Route("GET", "/api/incidents/<incident_id>", "getIncident", Scope.READ),
    Route("POST", "/api/incidents/<incident_id>/ack", "acknowledgeIncident", Scope.WRITE),
    Route("GET", "/api/silences", "listSilences", Scope.READ),
    Route("POST", "/api/silences", "createSilence", Scope.WRITE),
    Route("GET", "/api/silences/<silence_id>", "getSilence", Scope.READ),
    Route("DELETE", "/api/silences/<silence_id>", "expireSilence", Scope.WRITE),
    Route("GET", "/api/notifications", "listNotifications", Scope.READ),
    Route("POST", "/api/notifications/<message_id>/requeue", "requeueNotification", Scope.WRITE),
    Route("GET", "/api/status", "getStatus", Scope.READ),
    Route("POST", "/api/reload", "reload", Scope.ADMIN),
    GET_METRICS,
    Route("GET", "/openapi.json", "getOpenapi", None),
    Route("GET", "/docs", "getDocs", None),
    GET_HEALTH,
    GET_READINESS,
)

_BY_OPERATION: Final = {route.operation: route for route in ROUTES}


def find(operation: str | None) -> Route | None:
    """Return the route of an operation, None if the table does not have it."""
    return None if operation is None else _BY_OPERATION.get(operation)

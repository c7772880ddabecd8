"""The web application: every route of the table, behind one counter and one handler of errors.

``make_app`` is all that the daemon needs, with ``make_express`` for what need not go through it.
``routes.py`` has the table, one file a resource the handlers; this one brings them together.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Final

from quart import Response, g, request
from quart_trio import QuartTrio

from alertd.http import compression, problem, routes
from alertd.http.docs import DocsRoutes
from alertd.http.events import EventRoutes, acceptance_of
from alertd.http.express import Express
from alertd.http.hardening import HardenedQuart
from alertd.http.incidents import IncidentRoutes
from alertd.http.notifications import NotificationRoutes
from alertd.http.operations import OperationRoutes
from alertd.http.quarantine import QuarantineRoutes
from alertd.http.routes import ROUTES, Handlers
from alertd.http.rules import RuleRoutes
from alertd.http.services import Metrics, Services
from alertd.http.silences import SilenceRoutes
from alertd.http.stored_events import StoredEventRoutes

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def make_app(services: Services) -> QuartTrio:
    """Return the application that serves ``services``."""
    app = HardenedQuart(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = services.limits.max_body_bytes
    handlers = _handlers(services)
    for route in ROUTES:
        handler = handlers[route.operation]
        app.add_url_rule(route.path, route.operation, handler, methods=[route.method])
    _count_requests(app, services.metrics)
    _deny_what_is_in_no_table(app)
    problem.register(app)
    compression.register(app)
    return app


def make_express(services: Services) -> Express:
    """Return what takes plain requests past the application."""
    return Express(
        acceptance_of(services), services.metrics, max_body_bytes=services.limits.max_body_bytes
    )


def _handlers(services: Services) -> Handlers:
    """Return what answers each operation of the table."""
    resources = (
        EventRoutes,
        StoredEventRoutes,
        QuarantineRoutes,
        RuleRoutes,
        IncidentRoutes,
        NotificationRoutes,
        SilenceRoutes,
        OperationRoutes,
        DocsRoutes,
    )
    return {
        operation: handler
        for resource in resources
        for operation, handler in resource(services).handlers().items()
    }


def _deny_what_is_in_no_table(app: QuartTrio) -> None:
    """Refuse requests for a route that somebody added past the table."""

    async def deny() -> Response | None:
        if request.url_rule is None or routes.find(request.endpoint) is not None:
            return None
        return problem.reply(HTTPStatus.FORBIDDEN, "this resource has no entry in the table")

    app.before_request(deny)


def _count_requests(app: QuartTrio, metrics: Metrics) -> None:
    """Count every request by its route's template: paths are the client's to invent."""

    async def begin() -> None:
        g.began_s = time.perf_counter()

    async def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule is not None else "unknown"
        method = request.method if request.method in _METHODS else "other"
        metrics.requests.labels(method, route, response.status_code).inc()
        metrics.request_seconds.labels(route).observe(time.perf_counter() - g.began_s)
        return response

    app.before_request(begin)
    app.after_request(end)

"""The web application: every route of the table, behind one counter and one handler of errors.

``make_app`` is all that the daemon needs, with ``make_express`` for what need not go through it.
``routes.py`` has the table, one file a resource the handlers; this one brings them together.
"""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import urlsplit

from quart import Response, g, request
from quart_trio import QuartTrio

from alertd.http import compression, problem, routes
from alertd.http.audit import audited
from alertd.http.docs import DocsRoutes
from alertd.http.events import EventRoutes, acceptance_of
from alertd.http.express import Express
from alertd.http.gate import Ask, Denial, Forbidden, Gate
from alertd.http.hardening import HardenedQuart
from alertd.http.incidents import IncidentRoutes
from alertd.http.notifications import NotificationRoutes
from alertd.http.operations import OperationRoutes
from alertd.http.penalty import Penalty
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
        handler = audited(route, handlers[route.operation])
        app.add_url_rule(route.path, route.operation, handler, methods=[route.method])
    _count_requests(app, services.metrics, services.penalty)
    _guard(app, services.gate)
    problem.register(app, services.metrics.limits_reached)
    compression.register(app)
    return app


def make_express(services: Services) -> Express:
    """Return what takes plain requests past the application."""
    return Express(
        acceptance_of(services),
        services.gate,
        services.metrics,
        services.penalty,
        max_body_bytes=services.limits.max_body_bytes,
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


def _guard(app: QuartTrio, gate: Gate) -> None:
    """Let nobody in who may not, and to nothing that is not in the table."""

    async def let_in() -> None:
        ask = _ask()
        route = routes.find(request.endpoint)
        if route is None and request.url_rule is not None:
            raise Forbidden(Denial.ROUTE, "this resource has no entry in the table of routes")
        if route is None or (request.method == "OPTIONS" and route.scope is not None):
            gate.acquaint(ask)
        else:
            g.caller = gate.admit(ask, route)

    app.before_request(let_in)


def _ask() -> Ask:
    headers = request.headers
    host, target = headers.get("Host"), request.scope["path"]
    if not target.startswith("/"):
        host = urlsplit(target).netloc  # which counts then, and not the header (RFC 9112, 3.2.2)
    return Ask(
        request.method,
        host,
        headers.get("Authorization"),
        headers.get("Origin"),
        headers.get("Sec-Fetch-Site"),
        request.remote_addr,
    )


def _count_requests(app: QuartTrio, metrics: Metrics, penalty: Penalty) -> None:
    """Count every request by its route's template: paths are the client's to invent."""

    async def begin() -> None:
        g.began_s = time.perf_counter()

    async def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule is not None else "unknown"
        method = request.method if request.method in _METHODS else "other"
        metrics.requests.labels(method, route, response.status_code).inc()
        metrics.request_seconds.labels(route).observe(time.perf_counter() - g.began_s)
        await penalty.wait(response.status_code)
        return response

    app.before_request(begin)
    app.after_request(end)

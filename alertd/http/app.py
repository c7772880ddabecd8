"""The web application: every route of the table, behind one counter and one handler of errors.

``make_app`` is for a daemon that serves, ``make_recovering_app`` for the time before. ``routes.py``
has the table, one file a resource the handlers; this one brings them together. It is imported with
the first request that needs it, for nothing that a start loads takes longer (``site.py``).
"""

from __future__ import annotations

import time
from functools import wraps
from typing import Final
from urllib.parse import urlsplit

from quart import Response, g, request
from quart_trio import QuartTrio

from alertd.http import routes
from alertd.http.audit import audited
from alertd.http.docs import DocsRoutes
from alertd.http.events import EventRoutes
from alertd.http.gate import Ask, Denial, Forbidden, Gate
from alertd.http.hardening import HardenedQuart
from alertd.http.in_flight import InFlight
from alertd.http.incidents import IncidentRoutes
from alertd.http.monitoring import Answers, health_answers, monitoring_answers
from alertd.http.notifications import NotificationRoutes
from alertd.http.operations import OperationRoutes
from alertd.http.penalty import Penalty
from alertd.http.quarantine import QuarantineRoutes
from alertd.http.recovering import Recovering
from alertd.http.responses import register_compression, register_errors, telling
from alertd.http.routes import ROUTES, WITH_BODY, Handler, Handlers
from alertd.http.rules import RuleRoutes
from alertd.http.services import Metrics, Services
from alertd.http.silences import SilenceRoutes
from alertd.http.stored_events import StoredEventRoutes

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def make_app(services: Services) -> QuartTrio:
    """Return the application that serves ``services``."""
    handlers = {
        operation: _in_place(handler, services.in_flight)
        for operation, handler in _handlers(services).items()
    }
    answers = _telling(monitoring_answers(services.status, services.metrics))
    app = _make({**handlers, **answers}, services.gate, services.metrics, services.penalty)
    app.config["MAX_CONTENT_LENGTH"] = services.limits.max_body_bytes
    return app


def make_recovering_app(
    recovering: Recovering, gate: Gate, metrics: Metrics, penalty: Penalty
) -> QuartTrio:
    """Return the application that says everywhere that the daemon recovers."""

    async def refuse(**_parameters: str) -> Response:
        raise recovering.refusal()

    refusals = {route.operation: refuse for route in ROUTES}
    answers = _telling(health_answers(recovering))
    return _make({**refusals, **answers}, gate, metrics, penalty)


def _make(handlers: Handlers, gate: Gate, metrics: Metrics, penalty: Penalty) -> QuartTrio:
    """Return an application with every route of the table."""
    app = HardenedQuart(__name__, static_folder=None)
    for route in ROUTES:
        handler = audited(route, handlers[route.operation])
        app.add_url_rule(route.path, route.operation, handler, methods=[route.method])
    _count_requests(app, metrics, penalty)
    _guard(app, gate)
    register_errors(app, metrics.limits_reached)
    register_compression(app)
    return app


def _telling(answers: Answers) -> Handlers:
    """Return what answers each operation, however many requests there are (``monitoring.py``)."""
    return {route.operation: telling(answer) for route, answer in answers.items()}


def _in_place(handler: Handler, in_flight: InFlight) -> Handler:
    """Return ``handler``, held to the number of requests that are worked on at once."""

    @wraps(handler)
    async def handle(**parameters: str) -> Response:
        if request.method in WITH_BODY:
            await request.get_data(cache=True, as_text=False, parse_form_data=False)
        with in_flight:
            return await handler(**parameters)

    return handle


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

"""``/healthz``, ``/readyz``, ``/metrics``, ``/api/status``, ``/api/reload``: running the daemon.

``POST /api/reload`` reads the configuration again, as SIGHUP does: 200 with what changed and what
waits for the next start, or 422 with every mistake, each with its file and line for a ``path``;
nothing is changed then.
"""

from __future__ import annotations

from http import HTTPStatus

from quart import Response, request

from alertd.http import problem
from alertd.http.query import Parameters
from alertd.http.responses import json_response, problem_response
from alertd.http.routes import Handlers
from alertd.http.services import Readiness, Services
from alertd.http.wire import HealthReply
from alertd.metrics import CONTENT_TYPE

# Load balancers and scrapers add parameters of their own, so what they read refuses none.


class HealthRoutes:
    """The handlers that load balancers and supervisors ask."""

    def __init__(self, status: Readiness) -> None:
        self._status = status

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {"getHealth": self.healthz, "getReadiness": self.readyz}

    async def healthz(self) -> Response:
        """Answer, which is all that is asked."""
        return json_response(HealthReply("ok"))

    async def readyz(self) -> Response:
        """Say whether events can be committed, and if not, why."""
        reason = self._status.readiness()
        if reason is not None:
            return problem_response(
                HTTPStatus.SERVICE_UNAVAILABLE, reason, headers=problem.retry_after_store()
            )
        return json_response(HealthReply("ready"))


class OperationRoutes:
    """The other handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._reloader = services.reloader
        self._status = services.status
        self._metrics = services.metrics

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {
            **HealthRoutes(self._status).handlers(),
            "getMetrics": self.metrics,
            "getStatus": self.status,
            "reload": self.reload,
        }

    async def metrics(self) -> Response:
        """Show every metric, for Prometheus."""
        return Response(self._metrics.render(), content_type=CONTENT_TYPE)

    async def status(self) -> Response:
        """Show how the daemon is, for people."""
        return json_response(self._status.report())

    async def reload(self) -> Response:
        """Read the configuration again; a body is not looked at."""
        Parameters(request.args).check()
        return json_response(await self._reloader.reload())

"""``/api/status``, ``/api/reload``: running the daemon.

``POST /api/reload`` reads the configuration again, as SIGHUP does: 200 with what changed and what
waits for the next start, or 422 with every mistake, each with its file and line for a ``path``;
nothing is changed then.
"""

from __future__ import annotations

from quart import Response, request

from alertd.http.query import Parameters
from alertd.http.responses import json_response
from alertd.http.routes import Handlers
from alertd.http.services import Services


class OperationRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._reloader = services.reloader
        self._status = services.status

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {"getStatus": self.status, "reload": self.reload}

    async def status(self) -> Response:
        """Show how the daemon is, for people."""
        return json_response(self._status.report())

    async def reload(self) -> Response:
        """Read the configuration again; a body is not looked at."""
        Parameters(request.args).check()
        return json_response(await self._reloader.reload())

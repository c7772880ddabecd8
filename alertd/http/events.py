"""``POST /api/events`` behind the web framework: every form of request that HTTP allows.

Owns the parameters, the headers and the reply; what is done with the body is ``acceptance.py``'s.
Most requests never come here: ``express.py`` takes those that have nothing special about them.
"""

from __future__ import annotations

from http import HTTPStatus

from quart import Response, g, request

from alertd.errors import InvalidParameters, Problem
from alertd.http.acceptance import KEY_HEADER, acceptance_of, is_key
from alertd.http.body import read_body
from alertd.http.decode import MediaType
from alertd.http.query import Parameters
from alertd.http.routes import Handlers
from alertd.http.services import Services
from alertd.ingest.idempotency import MAX_KEY_CHARS


class EventRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._acceptance = acceptance_of(services)

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {"pushEvents": self.post}

    async def post(self) -> Response:
        """Take events: a JSON object, a JSON array, or NDJSON."""
        parameters = Parameters(request.args, "atomic")
        atomic = parameters.flag("atomic")
        parameters.check()
        key = _idempotency_key()
        body, media_type = await read_body(MediaType)
        reply = await self._acceptance.accept(body, media_type, g.caller, atomic=atomic, key=key)
        return Response(reply, HTTPStatus.ACCEPTED.value, content_type="application/json")


def _idempotency_key() -> str | None:
    """Return the request's key, None if it has none. Raises ``InvalidParameters`` (400)."""
    given = request.headers.getlist(KEY_HEADER)
    if not given:
        return None
    if len(given) == 1 and is_key(given[0]):
        return given[0]
    text = f"the header {KEY_HEADER} must be given once, 1 to {MAX_KEY_CHARS} printable characters"
    raise InvalidParameters([Problem("", text)])

"""The log of changes: who did what, for every request that may change anything.

Owns the line ``audit``, written whatever ``logging.level`` is, for each request with the scope
``write`` or ``admin`` when it is over: who (the token's name, and that of the client's certificate
where it has one), from where, which operation on which resource, and what became of it. Pushing
events is not a change in this sense: it is counted by token. The log goes where the daemon's goes,
by default to the journal, out of reach of those who hold a token; a table in the database would not
be.
"""

from __future__ import annotations

from functools import wraps

from quart import Response, g, request

from alertd.access import Scope
from alertd.errors import AlertdError
from alertd.http.routes import Handler, Route
from alertd.logs import audit_log
from alertd.tls import CLIENT_NAME


def _certificate() -> dict[str, str]:
    """Return the name in the certificate that the client has shown, if it has."""
    name = request.scope.get("state", {}).get(CLIENT_NAME)
    return {} if name is None else {"certificate": name}


def audited(route: Route, handler: Handler) -> Handler:
    """Return ``handler``, with a line for each of its requests if ``route`` changes anything."""
    if route.scope not in (Scope.WRITE, Scope.ADMIN):
        return handler

    @wraps(handler)
    async def handle(**parameters: str) -> Response:
        outcome = "the client left; it may have been done"
        location = None
        try:
            response = await handler(**parameters)
            outcome, location = "done", response.headers.get("Location")
            return response
        except AlertdError:
            outcome = "refused"
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            audit_log.info(
                "audit",
                who=g.caller.name or "anybody",
                client=request.remote_addr,
                **_certificate(),
                operation=route.operation,
                path=request.path,
                outcome=outcome,
                **({} if location is None else {"location": location}),
            )

    return handle

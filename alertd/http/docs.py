"""``/openapi.json`` and ``/docs``: what can be asked here, for programs and for people.

Owns their headers. What they say is made in ``openapi/``, at the first request. It is imported only
then, too: most daemons are never asked. Both are done beside the loop, for they take a while.
"""

from __future__ import annotations

import trio
from quart import Response

from alertd.http.routes import Handlers
from alertd.http.services import Services


class DocsRoutes:
    """The handlers; they need nothing of the daemon."""

    def __init__(self, services: Services) -> None:
        """Take ``services`` as every resource does."""

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {"getOpenapi": self.openapi, "getDocs": self.docs}

    async def openapi(self) -> Response:
        """Describe this interface for programs."""
        return Response(await trio.to_thread.run_sync(_document), content_type="application/json")

    async def docs(self) -> Response:
        """Describe this interface for people."""
        page, security_policy = await trio.to_thread.run_sync(_page)
        headers = {
            "Content-Security-Policy": security_policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return Response(page, headers=headers, content_type="text/html; charset=utf-8")


def _document() -> bytes:
    from alertd.http.openapi.document import document

    return document()


def _page() -> tuple[bytes, str]:
    """Return the page, and what a browser may do with it."""
    from alertd.http.openapi.page import page, security_policy

    return page(), security_policy()

"""The Quart application class that routes are registered on.

Owns corrections to Quart and quart-trio: the last message of a reply gets out, a request target
without a path is the client's mistake, not ours, and ``OPTIONS`` has no body. Leaves sockets and
time limits to ``connection.py`` and ``server.py``, and the reading of bodies to the routes: they
use ``await request.get_data()``, which alone honours ``BODY_TIMEOUT`` (408) and
``MAX_CONTENT_LENGTH`` (413).
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, HTTPScope
from quart import Quart, Response
from quart.asgi import ASGIHTTPConnection
from quart.wrappers import Request
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection

_BAD_TARGET = msgspec.json.encode(
    {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "the request target is not a path; send it as /path or http://host/path",
    }
)


class HardenedHTTPConnection(TrioASGIHTTPConnection):
    """One request. Its handler is cancelled when the client goes away, but not by its own end.

    The server reports "disconnected" as soon as the last body message is written, while that
    message is still being sent. quart-trio takes this for the client's departure and cancels
    the sender before it has closed or recycled the connection; here it is ignored from the
    moment that the last message is handed over.
    """

    def __init__(self, app: Quart, scope: HTTPScope) -> None:
        super().__init__(app, scope)
        self._last_message_begun = False

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer the request, or refuse it when its target names no path."""

        async def send_and_note_the_last(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._last_message_begun = True
            await send(message)

        if _names_a_path(self.scope["path"]):
            await super().__call__(receive, send_and_note_the_last)
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_discard, receive)
                await _refuse_target(send)
                nursery.cancel_scope.cancel()

    async def handle_messages(  # type: ignore[override]  # quart-trio's has a nursery, Quart's none
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        """Feed the body to the request; when the client goes away, cancel its handler."""
        await ASGIHTTPConnection.handle_messages(self, request, receive)
        if not self._last_message_begun:
            nursery.cancel_scope.cancel()


class HardenedQuart(QuartTrio):
    """A Quart application whose connections are closed or kept alive as HTTP says."""

    asgi_http_class = HardenedHTTPConnection

    async def make_default_options_response(self) -> Response:
        """Answer ``OPTIONS``: what the resource takes, and no body."""
        allowed = await super().make_default_options_response()
        return Response(b"", 204, headers={"Allow": ", ".join(sorted(allowed.allow))})


def _names_a_path(target: str) -> bool:
    """Tell whether Quart can route ``target``: ``/path``, or an absolute URL that has a path."""
    if target.startswith("/"):
        return True
    try:
        return urlsplit(target).path.startswith("/")
    except ValueError:
        return False


async def _discard(receive: ASGIReceiveCallable) -> None:
    # A body that nobody takes would fill hypercorn's queue and block the end of the reply.
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse_target(send: ASGISendCallable) -> None:
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(_BAD_TARGET)),
    ]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": _BAD_TARGET, "more_body": False})

"""The smallest server that the HTTP hazards can be tried on: ``serve`` around three routes.

For tests that must look at the server from within their own process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quart import Response, request
from quart_trio import QuartTrio

from alertd.http.express import Express
from alertd.http.hardening import HardenedQuart
from alertd.http.site import Site
from alertd.metrics import Metrics

_METRICS_PADDING = b"# padding\n" * 100_000


@dataclass
class Limits:
    """The fields of ``[server]`` that matter here."""

    bind: str = "127.0.0.1:0"
    max_connections: int = 100
    max_body_bytes: int = 1_000_000
    keep_alive_timeout_secs: float = 60.0
    send_timeout_secs: float = 30.0
    shutdown_grace_secs: float = 5.0


def open_site(
    limits: Limits, make_app: Callable[[], QuartTrio], express: Express | None = None
) -> Site:
    """Return a site that is answered by what ``make_app`` makes from the beginning."""
    site = Site(limits, make_app)
    site.open(make_app, express)
    return site


def make_app(metrics: Metrics) -> HardenedQuart:
    """Answer the routes that the tests use."""
    app = HardenedQuart(__name__)

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @app.get("/metrics")
    async def read_metrics() -> Response:
        return Response(metrics.render() + _METRICS_PADDING)

    @app.post("/api/events")
    async def push() -> tuple[dict[str, int], int]:
        return {"accepted": len(await request.get_data())}, 202

    return app

"""``GET /api/events`` and ``GET /api/series``: what has been stored.

Owns the parameters. Without ``metricName`` every metric is meant; ``labels.NAME=VALUE`` is
equality, a label that a series lacks is the empty string, and all that are given, each label once,
must hold. With ``resolution`` (seconds, a multiple of 60) events are summed up by series and time;
the buckets that begin within the range are listed whole. Leaves the order, the pages and their cost
to the store.
"""

from __future__ import annotations

from msgspec import Struct, structs
from quart import Response, request

from alertd.http import stored_items
from alertd.http.query import Parameters
from alertd.http.responses import json_response
from alertd.http.routes import Handlers
from alertd.http.services import Services
from alertd.store.event_pages import EventQuery, SeriesQuery
from alertd.store.rollup_pages import RollupQuery


class StoredEventRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._stored = services.stored
        self._rollups = services.rollups

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {
            "listEvents": self.events,
            "listSeries": self.series,
        }

    async def events(self) -> Response:
        """List stored events in the order of their times, or summed up by ``resolution``."""
        parameters = Parameters(
            request.args, "metricName", "from", "to", "resolution", "limit", "cursor", labels=True
        )
        from_us, to_us = parameters.span()
        resolution_us = parameters.resolution_us()
        query = EventQuery(
            metric_name=parameters.text("metricName"),
            labels=parameters.labels(),
            from_us=from_us,
            to_us=to_us,
            limit=parameters.limit(),
            cursor=parameters.text("cursor"),
        )
        parameters.check()
        if resolution_us is None:
            reply: Struct = stored_items.event_list(await self._stored.events(query))
        else:
            summing = RollupQuery(resolution_us=resolution_us, **structs.asdict(query))
            reply = stored_items.bucket_list(await self._rollups.buckets(summing))
        return json_response(reply)

    async def series(self) -> Response:
        """List series, each with the number of its events and the times of the first and last."""
        parameters = Parameters(request.args, "metricName", "limit", "cursor", labels=True)
        query = SeriesQuery(
            metric_name=parameters.text("metricName"),
            labels=parameters.labels(),
            limit=parameters.limit(),
            cursor=parameters.text("cursor"),
        )
        parameters.check()
        page = await self._stored.series(query)
        return json_response(stored_items.series_list(page))

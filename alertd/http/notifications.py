"""``/api/notifications``: what was sent, what waits, and what was given up.

Owns the parameters. Leaves the rows to the store, and what may be asked to
``delivery/notifier.py``.
"""

from __future__ import annotations

from http import HTTPStatus

from quart import Response, request

from alertd.http.delivery_replies import RequeueReply, delivery_list
from alertd.http.query import Parameters
from alertd.http.responses import json_response
from alertd.http.routes import Handlers
from alertd.http.services import Services
from alertd.outbound import DeliveryStatus
from alertd.store.deliveries import DeliveryQuery


class NotificationRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._outbox = services.outbox
        self._notifier = services.notifier

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {
            "listNotifications": self.list,
            "requeueNotification": self.requeue,
        }

    async def list(self) -> Response:
        """List messages, the newest first."""
        parameters = Parameters(request.args, "status", "channel", "incidentId", "limit", "cursor")
        query = DeliveryQuery(
            status=parameters.choice("status", DeliveryStatus),
            channel=parameters.text("channel"),
            incident_id=parameters.text("incidentId"),
            limit=parameters.limit(),
            cursor=parameters.text("cursor"),
        )
        parameters.check()
        page = await self._outbox.page(query)
        return json_response(delivery_list(page))

    async def requeue(self, message_id: str) -> Response:
        """Send one again that was given up, or one at once that waits."""
        Parameters(request.args).check()
        await self._notifier.requeue(message_id)
        requeued = RequeueReply(message_id, DeliveryStatus.RETRY_PENDING)
        return json_response(requeued, HTTPStatus.ACCEPTED)

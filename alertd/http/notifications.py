"""``/api/notifications``: what was sent, what waits, and what was given up.

Owns the parameters. Leaves the rows to the store, and what may be asked to
``delivery/notifier.py``.
"""

from __future__ import annotations

from http import HTTPStatus

from quart import Response, request

from alertd.errors import InvalidParameters, Problem
from alertd.http.delivery_replies import RequeueReply, delivery_list
from alertd.http.query import Parameters
from alertd.http.responses import json_response
from alertd.http.routes import Handlers
from alertd.http.services import Services
from alertd.http.strict import nearest
from alertd.outbound import DeliveryStatus
from alertd.store.deliveries import Delivery, DeliveryQuery
from alertd.store.history import Page


class NotificationRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._outbox = services.outbox
        self._notifier = services.notifier
        self._rules = services.rules

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
        if query.channel is not None and _is_empty(page):
            await self._require_channel(query.channel)
        return json_response(delivery_list(page))

    async def _require_channel(self, name: str) -> None:
        """Raise ``InvalidParameters`` if ``name`` is no channel, and never was that of a message.

        What was told over a channel stays to be seen when it is no longer configured.
        """
        known = sorted(self._rules.channel_names())
        if name in known:
            return
        if _is_empty(await self._outbox.page(DeliveryQuery(channel=name, limit=1))):
            message = f"there is no such channel, and no message of one; {nearest(name, known)}"
            raise InvalidParameters([Problem("/channel", message)])

    async def requeue(self, message_id: str) -> Response:
        """Send one again that was given up, or one at once that waits."""
        Parameters(request.args).check()
        await self._notifier.requeue(message_id)
        requeued = RequeueReply(message_id, DeliveryStatus.RETRY_PENDING)
        return json_response(requeued, HTTPStatus.ACCEPTED)


def _is_empty(page: Page[Delivery]) -> bool:
    """Return whether there is nothing on it, nor behind it."""
    return not page.items and page.next_cursor is None

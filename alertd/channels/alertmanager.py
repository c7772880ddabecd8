"""An Alertmanager that alertd feeds, as Prometheus would: ``POST /api/v2/alerts``.

Owns what is posted and when an alert ends there. An Alertmanager keeps alerts in memory only and
ends each at its ``endsAt``; so what is on is told with an end in the future, and again and again
(``resend``, which ``alertd/delivery/resender.py`` calls). Invariants:

* What is told again never overtakes an end: one post at a time (``factory.py`` lets dispatch make
  one attempt at a time), and ``resend`` reads what is on when its turn has come. That holds over a
  reload, too: the channel that takes another's place takes its turns with it (``succeed``).
* An alert is identified by its labels alone. The end of an incident does not end a later one
  that is on with the same labels.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Final

import msgspec
import trio
from msgspec import Struct

from alertd.channels import wording
from alertd.channels.alert import alert_annotations, alert_labels
from alertd.channels.http_channel import HttpChannel
from alertd.channels.http_client import HttpClient, Reply, judge
from alertd.channels.message import IncidentView, Message, MessageKind
from alertd.channels.protocol import Delivered, Forgetful, Outcome, ReadPages
from alertd.channels.secret import Secret, reveal
from alertd.clock import format_us
from alertd.model import US_PER_S, Labels

PATH: Final = "/api/v2/alerts"
TEST_LASTS_S: Final = 60.0
"""After which a test alert ends by itself."""


class PostedAlert(Struct, frozen=True, kw_only=True, rename="camel"):
    """One alert as ``POST /api/v2/alerts`` takes it."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    ends_at: str
    generator_url: str = msgspec.field(name="generatorURL")


class _On(Struct, frozen=True):
    incident_id: str
    started_at: str


class _Order:
    """What keeps posts to one address in order. Channels that follow one another share it."""

    def __init__(self) -> None:
        self.turn = trio.Lock()
        self.on: dict[Labels, _On] = {}
        """What is on there, by its labels; complete after the first ``resend``."""


class AlertmanagerChannel(HttpChannel):
    """Posts to one Alertmanager at ``url``, its address without a path of the API.

    ``ends_after_s`` is how long an alert stays on there if nothing more is heard of it.
    """

    def __init__(
        self,
        url: str,
        client: HttpClient,
        *,
        owns_client: bool,
        timeout_s: float,
        resend_interval_s: float,
        ends_after_s: float,
        headers: Mapping[str, Secret] | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        address = url.rstrip("/") + PATH
        super().__init__(address, client, owns_client=owns_client, timeout_s=timeout_s, now_s=now_s)
        self.resend_interval_s = resend_interval_s
        self._ends_after_s = ends_after_s
        self._headers = dict(headers or {})
        self._order = _Order()

    def succeed(self, former: Forgetful) -> None:
        """Begin after what ``former`` still posts, if that goes to the same address."""
        if isinstance(former, AlertmanagerChannel) and former._url == self._url:
            self._order = former._order

    async def send(self, message: Message) -> Outcome:
        """Tell what is new."""
        lasts_s = TEST_LASTS_S if message.kind is MessageKind.TEST else self._ends_after_s
        async with self._order.turn:
            return await self._post(_marked(wording.latest(message)), lasts_s)

    async def resend(self, read: ReadPages) -> Outcome:
        """Tell again what ``read`` yields, what has ended first, until a page is not taken."""
        outcome: Outcome = Delivered()
        seen = set[Labels]()
        async with self._order.turn, aclosing(read()) as pages:
            async for views in pages:
                marked = _marked(views)
                outcome = await self._post(marked, self._ends_after_s)
                if not isinstance(outcome, Delivered):
                    return outcome
                seen.update(mark for mark, _ in marked)
            on = self._order.on
            self._order.on = {mark: each for mark, each in on.items() if mark in seen}
        return outcome

    async def _post(self, marked: Iterable[tuple[Labels, IncidentView]], lasts_s: float) -> Outcome:
        """Tell the newest view of each label set, less what a later incident has overtaken."""
        found: dict[Labels, IncidentView] = {}
        for mark, view in sorted(marked, key=lambda each: each[1].started_at):
            on = self._order.on.get(mark)
            if on is None or on.incident_id == view.id or on.started_at <= view.started_at:
                found[mark] = view
        if not found:
            return Delivered()
        ends_at = format_us(round((self._now_s() + lasts_s) * US_PER_S))
        body = msgspec.json.encode([_alert(*each, ends_at) for each in found.items()])
        headers = reveal(self._headers) | {"Content-Type": "application/json"}
        reply = await self._client.post(self._url, body, headers, self._timeout_s)
        outcome = judge(reply, self._url.host, self._now_s()) if isinstance(reply, Reply) else reply
        if isinstance(outcome, Delivered):
            for mark, view in found.items():
                if view.ended_at is None:
                    self._order.on[mark] = _On(view.id, view.started_at)
                else:
                    self._order.on.pop(mark, None)
        return outcome


def _marked(views: Iterable[IncidentView]) -> list[tuple[Labels, IncidentView]]:
    """Return each view with the labels that identify its alert."""
    return [(tuple(alert_labels(view).items()), view) for view in views]


def _alert(labels: Labels, view: IncidentView, ends_at: str) -> PostedAlert:
    return PostedAlert(
        labels=dict(labels),
        annotations=alert_annotations(view),
        starts_at=view.started_at,
        ends_at=ends_at if view.ended_at is None else view.ended_at,
        generator_url=view.history_url,
    )

"""What those who watch the daemon ask: ``/healthz``, ``/readyz``, ``/metrics``.

They ask every few seconds for as long as the daemon runs, and most when it is in trouble. So what
they are told needs no place among the requests in flight, and no web framework; both lanes give
the same answers, which are made here. Parameters are not looked at, for load balancers and
scrapers add some of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TypeAlias

from alertd.http import problem
from alertd.http.reply import JSON, Reply
from alertd.http.routes import GET_HEALTH, GET_METRICS, GET_READINESS, Route
from alertd.http.services import Metrics, Readiness
from alertd.http.wire import HealthReply, encode
from alertd.metrics import CONTENT_TYPE

Answers: TypeAlias = Mapping[Route, Callable[[], Reply]]
"""What answers each route; it neither waits nor fails."""


def health_answers(status: Readiness) -> Answers:
    """Return what load balancers and supervisors are told, also while the daemon recovers."""
    return {GET_HEALTH: _health, GET_READINESS: partial(_readiness, status)}


def monitoring_answers(status: Readiness, metrics: Metrics) -> Answers:
    """Return what everybody is told who watches the daemon."""
    return {**health_answers(status), GET_METRICS: partial(_metrics, metrics)}


def _health() -> Reply:
    """Answer, which is all that is asked."""
    return Reply(HTTPStatus.OK, JSON, encode(HealthReply("ok")))


def _readiness(status: Readiness) -> Reply:
    """Say whether events can be committed, and if not, why."""
    reason = status.readiness()
    if reason is not None:
        headers = problem.retry_after_store()
        return problem.render(HTTPStatus.SERVICE_UNAVAILABLE, reason, headers=headers)
    return Reply(HTTPStatus.OK, JSON, encode(HealthReply("ready")))


def _metrics(metrics: Metrics) -> Reply:
    """Show every metric, for Prometheus."""
    return Reply(HTTPStatus.OK, CONTENT_TYPE, metrics.render())

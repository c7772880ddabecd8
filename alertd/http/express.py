"""The express lane: plain requests, answered in front of the web framework.

Nearly all requests that alertd ever gets are alike: HTTP/1.1, ``POST /api/events``, a body of known
length in JSON. Through h11, hypercorn, ASGI and Quart such a request costs 1.6 ms before its first
event is looked at; here it costs a tenth of that. And a daemon that is only watched need not load
a web framework.

Owns what is answered here, one handler a route. A request is taken if it is plain (``plain.py``),
there is a handler for it, and the gate knows who sends it. All others, malformed requests and
strangers' included, are left to the HTTP library, untouched; so nothing is refused here for its
form or its sender.

Invariant: a plain request gets the status, the body and the headers that it would get from the
web framework. What a body means is ``acceptance.py``'s, reading and sending ``connection.py``'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from http import HTTPStatus
from typing import Protocol

from alertd.http import problem
from alertd.http.acceptance import Acceptance, acceptance_of
from alertd.http.compression import compressed
from alertd.http.gate import Caller, Gate
from alertd.http.in_flight import InFlight
from alertd.http.monitoring import Answers, health_answers, monitoring_answers
from alertd.http.penalty import Penalty
from alertd.http.plain import PlainRequest, read_plain
from alertd.http.reply import JSON, Reply
from alertd.http.routes import PUSH_EVENTS, Route
from alertd.http.services import Metrics, Readiness, Services
from alertd.limits import Limit


class PlainHandler(Protocol):
    """What answers the plain requests of one route."""

    async def __call__(self, request: PlainRequest, body: bytes, caller: Caller) -> Reply:
        """Return the reply. What it raises is told as a problem."""
        ...


class Express:
    """Recognises plain requests and answers them."""

    def __init__(
        self,
        handlers: Mapping[Route, PlainHandler],
        gate: Gate,
        metrics: Metrics,
        penalty: Penalty,
        *,
        max_body_bytes: int = 0,
    ) -> None:
        """A request with a longer body than ``max_body_bytes`` is left to the library to refuse."""
        self._handlers = handlers
        self._gate = gate
        self._limits_reached = metrics.limits_reached
        # Looking a series up costs more than counting, and there are few.
        self._requests = cache(metrics.requests.labels)
        self._seconds = cache(metrics.request_seconds.labels)
        self._penalty = penalty
        self._max_body_bytes = max_body_bytes

    def recognise(self, data: bytes) -> PlainRequest | None:
        """Return the head of the request that ``data`` begins with, None unless it is plain."""
        request = read_plain(data)
        if request is None or request.route not in self._handlers:
            return None
        if request.body_bytes > self._max_body_bytes:
            return None
        return request if self._gate.would_admit(request.ask, request.route) else None

    async def answer(self, request: PlainRequest, body: bytes, *, is_last: bool) -> bytes:
        """Return the reply; if it ``is_last`` on its connection it says so."""
        began_s = time.perf_counter()
        method, route = request.ask.method, request.route
        try:
            caller = self._gate.admit(request.ask, route)
            reply = await self._handlers[route](request, body, caller)
        except Exception as error:
            problem.count(problem.limits_of(error), self._limits_reached)
            reply = problem.of_exception(error, method, route.path)
        self._requests(method, route.path, reply.status.value).inc()
        await self._penalty.wait(reply.status)
        self._seconds(route.path).observe(time.perf_counter() - began_s)
        return reply.written(is_last=is_last, has_body=method != "HEAD")

    def too_slow(self, request: PlainRequest, timeout_s: float) -> bytes:
        """Return the reply to a request whose body did not come within ``timeout_s``."""
        status = HTTPStatus.REQUEST_TIMEOUT
        problem.count([Limit.BODY_TIME], self._limits_reached)
        self._requests(request.ask.method, request.route.path, status.value).inc()
        return problem.render(status, problem.body_too_slow(timeout_s)).written(is_last=True)


def make_express(services: Services) -> Express:
    """Return what takes plain requests past the application."""
    push = partial(_push, acceptance_of(services), services.in_flight)
    answers = monitoring_answers(services.status, services.metrics)
    return Express(
        {PUSH_EVENTS: push, **_handlers(answers)},
        services.gate,
        services.metrics,
        services.penalty,
        max_body_bytes=services.limits.max_body_bytes,
    )


def make_recovering_express(
    recovering: Readiness, gate: Gate, metrics: Metrics, penalty: Penalty
) -> Express:
    """Return what says how the daemon is while it recovers, and takes nothing else."""
    return Express(_handlers(health_answers(recovering)), gate, metrics, penalty)


def _handlers(answers: Answers) -> dict[Route, PlainHandler]:
    return {route: partial(_tell, answer) for route, answer in answers.items()}


async def _tell(
    answer: Callable[[], Reply], request: PlainRequest, _body: bytes, _caller: Caller
) -> Reply:
    """Give an answer that is there."""
    return await compressed(answer(), request.encoding)


async def _push(
    acceptance: Acceptance,
    in_flight: InFlight,
    request: PlainRequest,
    body: bytes,
    caller: Caller,
) -> Reply:
    """Take the events in ``body``."""
    assert request.media_type is not None
    with in_flight:
        receipt = await acceptance.accept(body, request.media_type, caller, key=request.key)
    return Reply(HTTPStatus.ACCEPTED, JSON, receipt)

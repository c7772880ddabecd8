"""The express lane: plain ``POST /api/events`` requests, in front of the web framework.

Nearly all requests that alertd ever gets are alike: HTTP/1.1, this one path, a body of known
length in JSON. Through h11, hypercorn, ASGI and Quart such a request costs 1.6 ms before its
first event is looked at; here it costs a tenth of that.

Owns which requests are plain and the form of their replies. Plain is what leaves nothing to
interpret: the head has come in one piece, every header line is well-formed ASCII, and none of
them asks for anything (no ``Transfer-Encoding``, ``Expect``, ``Upgrade``, ``Content-Encoding``,
no ``Connection`` but keep-alive), and the gate knows who sends it. Whatever is not plain,
malformed requests and strangers' included, is left to the HTTP library, untouched; so nothing
is refused here for its form or its sender.

Invariant: a plain request gets the status, the body and the headers that it would get from the
web framework. What a body means is ``acceptance.py``'s, reading and sending ``connection.py``'s.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, NamedTuple

from alertd.http import problem
from alertd.http.acceptance import KEY_HEADER, Acceptance, acceptance_of, is_key
from alertd.http.decode import MediaType
from alertd.http.gate import Ask, Gate
from alertd.http.in_flight import InFlight
from alertd.http.penalty import Penalty
from alertd.http.routes import PUSH_EVENTS
from alertd.http.services import Metrics, Services
from alertd.limits import Limit

_METHOD, _PATH = PUSH_EVENTS.method, PUSH_EVENTS.path
_REQUEST_LINE: Final = f"{_METHOD} {_PATH} HTTP/1.1\r\n".encode()
_MAX_HEAD_BYTES: Final = 4_096
_REMEMBERED_HEADS: Final = 512
_MAX_LENGTH_DIGITS: Final = 12
_HEADER_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~](?:[ -~\t]*[!-~])?)?)[ \t]*"
)
_OBSERVED: Final = frozenset(
    {"host", "content-length", "content-type", "authorization", KEY_HEADER.lower()}
)
"""Headers that mean something here, so that being there twice means something too."""
_NOT_PLAIN: Final = frozenset(
    {
        "transfer-encoding",
        "expect",
        "upgrade",
        "content-encoding",
        "te",
        "trailer",
        "http2-settings",
        "origin",
        "sec-fetch-site",
    }
)
_MEDIA_TYPES: Final = {
    media_type.value + parameter: media_type
    for media_type in MediaType
    for parameter in ("", ";charset=utf-8", "; charset=utf-8")
}


class PlainRequest(NamedTuple):
    """The head of a plain request."""

    head_bytes: int
    """Up to and with the empty line."""
    body_bytes: int
    media_type: MediaType
    key: str | None
    """Its Idempotency-Key."""
    ask: Ask
    """What the gate wants to know."""


class Express:
    """Recognises plain requests and answers them."""

    def __init__(
        self,
        acceptance: Acceptance,
        gate: Gate,
        metrics: Metrics,
        penalty: Penalty,
        in_flight: InFlight,
        *,
        max_body_bytes: int,
    ) -> None:
        self._acceptance = acceptance
        self._gate = gate
        self._metrics = metrics
        self._penalty = penalty
        self._in_flight = in_flight
        self._max_body_bytes = max_body_bytes
        self._seconds = metrics.request_seconds.labels(_PATH)
        self._accepted = metrics.requests.labels(_METHOD, _PATH, HTTPStatus.ACCEPTED.value)

    def recognise(self, data: bytes) -> PlainRequest | None:
        """Return the head of the request that ``data`` begins with, None unless it is plain."""
        request = read_plain(data)
        if request is None or request.body_bytes > self._max_body_bytes:
            return None
        return request if self._gate.would_admit(request.ask, PUSH_EVENTS) else None

    async def answer(self, request: PlainRequest, body: bytes, *, close: bool) -> bytes:
        """Take the events in ``body`` and return the reply; with ``close`` it announces the end."""
        began_s = time.perf_counter()
        try:
            caller = self._gate.admit(request.ask, PUSH_EVENTS)
            with self._in_flight:
                receipt = await self._acceptance.accept(
                    body, request.media_type, caller, key=request.key
                )
        except Exception as error:
            problem.count(problem.limits_of(error), self._metrics.limits_reached)
            refusal = problem.of_exception(error, _METHOD, _PATH)
            self._metrics.requests.labels(_METHOD, _PATH, refusal.status.value).inc()
            reply = _refuse(refusal, close=close)
            await self._penalty.wait(refusal.status)
        else:
            self._accepted.inc()
            reply = _reply(HTTPStatus.ACCEPTED, "application/json", receipt, {}, close=close)
        self._seconds.observe(time.perf_counter() - began_s)
        return reply

    def too_slow(self, timeout_s: float) -> bytes:
        """Return the reply to a request whose body did not come within ``timeout_s``."""
        status = HTTPStatus.REQUEST_TIMEOUT
        problem.count([Limit.BODY_TIME], self._metrics.limits_reached)
        self._metrics.requests.labels(_METHOD, _PATH, status.value).inc()
        return _refuse(problem.render(status, problem.body_too_slow(timeout_s)), close=True)


def make_express(services: Services) -> Express:
    """Return what takes plain requests past the application."""
    return Express(
        acceptance_of(services),
        services.gate,
        services.metrics,
        services.penalty,
        services.in_flight,
        max_body_bytes=services.limits.max_body_bytes,
    )


def read_plain(data: bytes) -> PlainRequest | None:
    """Return the head that ``data`` begins with if it is all there and plain, else None."""
    if not data.startswith(_REQUEST_LINE):
        return None
    end = data.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES)
    return _read_head(data[: end + 4]) if end != -1 else None


@lru_cache(_REMEMBERED_HEADS)
def _read_head(head: bytes) -> PlainRequest | None:
    """Return what a head says; a client repeats itself, so heads are remembered."""
    fields: dict[str, str] = {}
    for line in head[len(_REQUEST_LINE) : -4].split(b"\r\n"):
        match = _HEADER_LINE.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].decode().lower(), match[2].decode()
        if name in _NOT_PLAIN or (name == "connection" and value.lower() != "keep-alive"):
            return None
        if name in _OBSERVED:
            if name in fields:
                return None
            fields[name] = value
    length, key = fields.get("content-length", ""), fields.get(KEY_HEADER.lower())
    media_type = _MEDIA_TYPES.get(fields.get("content-type", "").lower())
    is_plain = (
        "host" in fields
        and media_type is not None
        and length.isdecimal()
        and len(length) <= _MAX_LENGTH_DIGITS
        and (key is None or is_key(key))
    )
    if not is_plain or media_type is None:
        return None
    ask = Ask(_METHOD, fields["host"], fields.get("authorization"))
    return PlainRequest(len(head), int(length), media_type, key, ask)


def _refuse(refusal: problem.ProblemReply, *, close: bool) -> bytes:
    return _reply(refusal.status, problem.CONTENT_TYPE, refusal.body, refusal.headers, close=close)


def _reply(
    status: HTTPStatus, content_type: str, body: bytes, headers: dict[str, str], *, close: bool
) -> bytes:
    """Return a whole reply: one piece, so that one packet can carry it."""
    others = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
    ending = "connection: close\r\n" if close else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n{others}date: {_date(int(time.time()))}\r\n{ending}\r\n"
    )
    return head.encode() + body


@lru_cache(1)
def _date(now_s: int) -> str:
    """Return the time as HTTP's ``Date`` header has it (RFC 9110, 5.6.7)."""
    return formatdate(now_s, usegmt=True)

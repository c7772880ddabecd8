"""One connection that sends events as lines: read, store, acknowledge.

Owns the life of a connection: who sends, how long it may be silent, when it is not read, and the
last word. It does one thing after the other: what one read delivers is stored before it is read
again. So each connection has at most ``MAX_BATCH_LINES`` lines under way, a client that sends
faster than events can be stored is slowed down by its own TCP, and the more it has waiting the
more goes into one batch.

While nothing can be stored (the queue is full, the disk is, the allowance is used up) it is not
read either and tries again; after ``lines.max_pause_secs`` it is closed, and told when to come
again.

Invariants: positions that are acknowledged are durable or refused, all of them. A batch that was
handed in is stored whatever becomes of its connection. Leaves accepting and counting of
connections to ``listener.py``, the words to ``protocol.py``.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

import trio

from alertd.errors import InvalidInput, Overloaded, StoreUnavailable
from alertd.http import problem
from alertd.http.acceptance import prepare_for
from alertd.http.gate import Ask, Caller, Denied, Gate, anybody
from alertd.http.json_events import decode_each_line
from alertd.http.penalty import Penalty
from alertd.http.routes import PUSH_EVENTS
from alertd.http.services import Intake
from alertd.ingest.intake import Draft
from alertd.limits import Limit
from alertd.lines.protocol import (
    Acknowledged,
    Answer,
    Closed,
    End,
    LineCutter,
    Pause,
    Paused,
    encode,
    may_be_an_object,
    read_greeting,
    refusals,
)
from alertd.metrics import Metrics

MAX_BATCH_LINES: Final = 2_000
"""Lines stored together. To look at each of so many, where one is bad, takes some 20 ms."""
READ_BYTES: Final = 256 * 1024
GREETING_TIMEOUT_S: Final = 10.0
"""In which who has to show a token does so, and in which TLS is agreed on."""
TRY_QUEUE_AGAIN_S: Final = 0.05
TRY_STORE_AGAIN_S: Final = 1.0
TELL_PAUSE_AFTER_S: Final = 1.0
"""A shorter pause is not worth a line."""
COME_AGAIN_S: Final = 5
LINGER_S: Final = 1.0
"""How long what a client sends is swallowed after the last word, which a reset could overtake."""

T = TypeVar("T")


class LineLimits(Protocol):
    """What one connection may do; ``LinesConfig`` says it."""

    @property
    def max_line_bytes(self) -> int:
        """Of a line; a longer one is refused."""

    @property
    def idle_timeout_secs(self) -> float:
        """How long a connection may be without a whole line."""

    @property
    def max_pause_secs(self) -> float:
        """How long a connection is not read while nothing can be stored."""


@dataclass(frozen=True, slots=True)
class Door:
    """What lines go through, the same for all connections."""

    intake: Intake
    gate: Gate
    penalty: Penalty
    metrics: Metrics
    limits: LineLimits
    send_timeout_s: float


class _Ending(Exception):
    """The connection is to end: the last answer, None if there is nobody who would read it."""

    def __init__(self, end: End, last: Closed | None = None, limit: Limit | None = None) -> None:
        self.end = end
        self.last = last
        self.limit = limit


def _saying(
    end: End, message: str, *, retry_after_s: int | None = None, limit: Limit | None = None
) -> _Ending:
    return _Ending(end, Closed(end, message, retry_after_s), limit)


class Connection:
    """One client. ``run`` it once; the caller closes the stream."""

    def __init__(
        self,
        stream: trio.SocketStream,
        door: Door,
        *,
        client: str,
        tls: ssl.SSLContext | None = None,
        is_trusted: bool = False,
    ) -> None:
        """``is_trusted`` if it need show no token, because it could open a UNIX socket."""
        self.client = client
        self.sender = "anybody"
        """The name of the token that was shown last."""
        self.position = 0
        """Lines acknowledged."""
        self.refused = 0
        """How many of them were refused."""
        self._socket = stream
        self._stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = stream
        if tls is not None:
            self._stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        self._door = door
        self._everybody = anybody() if is_trusted else None
        self._authorization: str | None = None
        self._cutter = LineCutter(door.limits.max_line_bytes)
        self._waiting = trio.CancelScope()
        self._is_stopping = False

    async def run(self) -> End:
        """Take lines until either side ends the connection; return why it ended.

        Whatever else is raised is a defect; the client has been told that it is over.
        """
        try:
            await self._shake_hands()
            await self._receive()
        except _Ending as ending:
            if ending.limit is not None:
                problem.count([ending.limit], self._door.metrics.limits_reached)
            if ending.last is not None:
                await self._say_goodbye(ending.last)
            return ending.end
        except Exception:
            message = "an unexpected error; send what is not acknowledged again"
            await self._say_goodbye(Closed(End.FAILED, message, COME_AGAIN_S))
            raise
        return End.LEFT

    def stop(self) -> None:
        """Read nothing more: what was read is stored and acknowledged, and then it is over."""
        self._is_stopping = True
        self._waiting.cancel()

    # ---- reading

    async def _shake_hands(self) -> None:
        if isinstance(self._stream, trio.SSLStream):
            stream = self._stream
            try:
                await self._wait(stream.do_handshake, trio.current_time() + GREETING_TIMEOUT_S)
            except _Ending as ending:
                self._door.metrics.tls_failures.inc()
                # No word would be understood.
                raise _Ending(End.HANDSHAKE, limit=ending.limit) from None

    async def _receive(self) -> None:
        """Take what comes, until the client ends its side."""
        patience_s = self._door.limits.idle_timeout_secs
        must_greet = self._must_greet()
        first_s = min(patience_s, GREETING_TIMEOUT_S) if must_greet else patience_s
        until_s = trio.current_time() + first_s
        is_first, data = True, b"\n"
        while data:
            data = await self._wait(self._read, until_s)
            lines = self._cutter.take(data) if data else self._cutter.finish()
            if lines and is_first:
                lines, is_first = await self._after_greeting(lines), False
            for start in range(0, len(lines), MAX_BATCH_LINES):
                await self._take(lines[start : start + MAX_BATCH_LINES])
            if b"\n" in data and not (is_first and must_greet):
                until_s = trio.current_time() + patience_s

    async def _read(self) -> bytes:
        return bytes(await self._stream.receive_some(READ_BYTES))

    async def _wait(self, wait: Callable[[], Awaitable[T]], until_s: float) -> T:
        """Return what ``wait`` does; it is given up when the time is over, or all is to stop."""
        if not self._is_stopping:
            try:
                with trio.CancelScope(deadline=until_s) as self._waiting:
                    return await wait()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise _Ending(End.LEFT) from None
        if self._is_stopping:
            message = "alertd stops; send what is not acknowledged again"
            raise _saying(End.STOPPING, message, retry_after_s=COME_AGAIN_S)
        message = "no whole line came in time (lines.idle_timeout_secs); a blank one is enough"
        raise _saying(End.IDLE, message, limit=Limit.LINE_TIME)

    # ---- who sends

    def _must_greet(self) -> bool:
        ask = Ask(PUSH_EVENTS.method, None)
        return self._everybody is None and not self._door.gate.would_admit(ask, PUSH_EVENTS)

    async def _after_greeting(self, lines: list[bytes]) -> list[bytes]:
        """Return ``lines``, the first of the connection, without the one that shows a token."""
        first, *others = lines
        if not may_be_an_object(first):
            message = "the first line must be a JSON object: an event, or the token"
            raise _saying(End.NOT_LINES, message)
        token = read_greeting(first)
        if token is None:
            return lines
        self._authorization = f"Bearer {token}"
        await self._patiently(self._admit)
        await self._say(Acknowledged(0))
        return others

    async def _admit(self) -> Caller:
        """Return who sends, if they still may. Raises ``UsedUp``, and ends the connection."""
        if self._everybody is not None:
            return self._everybody
        ask = Ask(PUSH_EVENTS.method, None, self._authorization, client=self.client)
        try:
            caller = self._door.gate.admit(ask, PUSH_EVENTS)
        except Denied as error:
            await self._door.penalty.wait(HTTPStatus.UNAUTHORIZED)
            message = str(error)
            if self._authorization is None:
                message = 'a token is needed: send {"token": "…"} as the first line'
            raise _saying(End.DENIED, message) from error
        self.sender = caller.name or self.sender
        return caller

    # ---- storing

    async def _take(self, lines: list[bytes]) -> None:
        """Store ``lines`` and acknowledge them."""
        arrived_s = trio.current_time()
        door = self._door
        caller = await self._patiently(self._admit)
        await prepare_for(lines)
        draft = decode_each_line(
            lines,
            registry=door.intake.registry,
            received_us=door.intake.now_us(),
            max_line_bytes=door.limits.max_line_bytes,
        )
        caller.charge(len(lines))
        await self._patiently(partial(self._store, draft))
        answers: list[Answer] = []
        if draft.refused:
            problem.count(problem.reached(draft.problems), door.metrics.limits_reached)
            await door.penalty.wait(HTTPStatus.UNPROCESSABLE_ENTITY)
            self.refused += draft.rejected
            answers += refusals(draft.refused, self.position)
        self.position += len(lines)
        answers.append(Acknowledged(self.position))
        door.metrics.lines_acknowledged.inc(len(lines))
        door.metrics.line_seconds.observe(trio.current_time() - arrived_s)
        await self._say(*answers)

    async def _store(self, draft: Draft) -> None:
        """Try once. Each attempt is a receipt of its own: the clock has gone on in a pause.

        Events without a timestamp keep the time at which they first came.
        """
        intake = self._door.intake
        with suppress(InvalidInput):  # nothing of it can be taken: the draft says why
            await intake.submit(draft, intake.now_us())

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what ``attempt`` does, made again until nothing stands in its way."""
        began_s, is_paused, is_told = trio.current_time(), False, False
        while True:
            try:
                return await attempt()
            except (Overloaded, StoreUnavailable) as error:
                pause, wait_s = _pause_of(error)
                message = str(error)
            if not is_paused:
                self._door.metrics.line_pauses.labels(pause.value).inc()
                is_paused = True
            paused_s = trio.current_time() - began_s
            if paused_s + wait_s > self._door.limits.max_pause_secs:
                again_s = max(COME_AGAIN_S, round(wait_s))
                raise _saying(End.PAUSED, message, retry_after_s=again_s, limit=Limit.LINE_PAUSE)
            if paused_s >= TELL_PAUSE_AFTER_S and not is_told:
                await self._say(Paused(pause, message))
                is_told = True
            await self._wait(partial(trio.sleep, wait_s), math.inf)

    # ---- answering

    async def _say(self, *answers: Answer) -> None:
        taken = False
        with trio.move_on_after(self._door.send_timeout_s):
            try:
                await self._stream.send_all(encode(answers))
                taken = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise _Ending(End.LEFT) from None
        if not taken:
            raise _Ending(End.NOT_READ, limit=Limit.SEND_TIME)

    async def _say_goodbye(self, last: Closed) -> None:
        """Tell why it is over, and wait a little until the client has taken it."""
        with suppress(_Ending):
            await self._say(last)
            await linger(self._socket)


async def linger(stream: trio.SocketStream) -> None:
    """Swallow what a client sends after the last word, until it has taken that or time is up."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_eof()
        with trio.move_on_after(LINGER_S):
            while await stream.receive_some(READ_BYTES):
                pass


def _pause_of(error: Overloaded | StoreUnavailable) -> tuple[Pause, float]:
    """Return what is waited for, and for how many seconds before it is worth another attempt."""
    if isinstance(error, StoreUnavailable):
        return Pause.STORE, TRY_STORE_AGAIN_S
    if error.limit is Limit.ALLOWANCE:
        return Pause.ALLOWANCE, error.retry_after_s
    return Pause.QUEUE, TRY_QUEUE_AGAIN_S

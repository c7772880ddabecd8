"""The express lane: which requests it takes, and that nobody can tell by the reply."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from quart_trio import QuartTrio

from alertd.errors import Overloaded, StoreUnavailable
from alertd.http.connection import LINGER_S
from alertd.http.plain import read_plain
from alertd.http.routes import GET_READINESS, Route
from alertd.http.routes import PLAIN as PLAIN_ROUTES
from alertd.http.server import serve
from tests.e2e.hazard_server import Limits, open_site
from tests.unit.http.fakes import MAX_BYTES, Site
from tests.unit.http.test_compression import INFLATE

EVENT = b'{"metricName":"m","value":1}'
PLAIN = b"POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
LIBRARY = b"TE: trailers\r\n"
"""A header that means nothing here, and keeps a request off the express lane."""
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
WATCHED = [route for route in PLAIN_ROUTES if route.method == "GET"]
SOON_S = 10.0


def request(body: bytes = EVENT, *, head: bytes = PLAIN, more: bytes = b"") -> bytes:
    return head + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def watching(route: Route, method: str = "GET", more: bytes = b"") -> bytes:
    return f"{method} {route.path} HTTP/1.1\r\nHost: a\r\n".encode() + more + b"\r\n"


class Running:
    """A site behind the real server."""

    def __init__(self, site: Site, port: int, shutdown: trio.Event) -> None:
        self.port = port
        self.shutdown = shutdown
        self._site = site

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def ask(
        self, *pieces: bytes, replies: int = 1, method: str = "POST"
    ) -> list[tuple[h11.Response, bytes]]:
        """Send ``pieces`` on a connection of their own and return what is answered."""
        async with await self.connect() as stream:
            for piece in pieces:
                await stream.send_all(piece)
                await trio.testing.wait_all_tasks_blocked(0.01)
            return [await read_reply(stream, method) for _ in range(replies)]

    @property
    def batches(self) -> int:
        return len(self._site.log.batches)


@asynccontextmanager
async def running(site: Site, **limits: float) -> AsyncIterator[Running]:
    shutdown = trio.Event()

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        bounds = Limits(max_body_bytes=MAX_BYTES, **limits)  # type: ignore[arg-type]
        await serve(
            open_site(bounds, site.load, site.express),
            bounds,
            metrics=site.metrics,
            shutdown=shutdown,
            task_status=task_status,
        )

    with trio.fail_after(SOON_S):
        async with trio.open_nursery() as nursery:
            (address,) = await nursery.start(run)
            yield Running(site, int(address.rpartition(":")[2]), shutdown)
            nursery.cancel_scope.cancel()


async def read_reply(stream: trio.SocketStream, method: str = "POST") -> tuple[h11.Response, bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    response, body = None, b""
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            # A byte at a time: the next reply is for the next reader.
            client.receive_data(bytes(await stream.receive_some(1)))
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert response is not None
            return response, body


def as_told(reply: tuple[h11.Response, bytes]) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return all that a client is told but the time and the id of an error."""
    response, body = reply
    headers = {name: value for name, value in response.headers if name != b"date"}
    assert re.search(rb"^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$", dict(response.headers)[b"date"])
    return response.status_code, headers, re.sub(rb"[0-9a-f]{8}-[0-9a-f-]{27}", b"ID", body)


def without_counts(told: tuple[int, dict[bytes, bytes], bytes]) -> object:
    """Return all that is told; of metrics which there are, for what they count goes on."""
    status, headers, body = told
    if not headers[b"content-type"].startswith(b"text/plain; version="):
        return told
    size, encoding = headers.pop(b"content-length"), headers.get(b"content-encoding", b"")
    assert len(body) in (0, int(size))
    inflate = INFLATE.get(encoding.decode(), bytes)
    return status, headers, re.findall(rb"# HELP .*", inflate(body) if body else b"")


BODIES = (
    EVENT,
    b"[%b,%b]" % (EVENT, EVENT),
    b"[]",
    b"",
    b"nonsense",
    b'[{"metricName":"m","value":"x"},%b]' % EVENT,
    b'{"metricName":"m","value":"x"}',
    b'{"metricName":"m","labels":{"a":1}}',
    b"[" + b",".join([EVENT] * 2_000) + b"]",
    b"\xff",
)


@pytest.mark.parametrize(
    "media_type", [b"application/json", b"application/x-ndjson", b"Application/JSON; charset=UTF-8"]
)
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_a_reply_is_the_same_on_both_ways(body: bytes, media_type: bytes) -> None:
    head = PLAIN.replace(b"application/json", media_type)
    async with running(Site()) as site, running(Site()) as other:
        (plain,) = await site.ask(request(body, head=head))
        (usual,) = await other.ask(request(body, head=head, more=LIBRARY))
    assert as_told(plain) == as_told(usual)
    assert site.batches == other.batches


@pytest.mark.parametrize(
    "error",
    [Overloaded("full", retry_after_s=3), StoreUnavailable("no room"), RuntimeError("secret")],
    ids=["overloaded", "store", "unexpected"],
)
async def test_an_error_is_the_same_problem_on_both_ways(error: Exception) -> None:
    site = Site()
    site.log.failure = error
    async with running(site) as server:
        (plain,) = await server.ask(request())
        (usual,) = await server.ask(request(more=LIBRARY))
    assert as_told(plain) == as_told(usual)
    assert plain[0].status_code in (429, 500, 503)
    assert b"secret" not in plain[1]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "encoding", [b"", b"gzip", b"GZIP", b"gzip, deflate,br, zstd", b"br", b"identity, gzip"]
)
@pytest.mark.parametrize("route", WATCHED, ids=[route.path for route in WATCHED])
async def test_who_watches_is_told_the_same_on_both_ways(
    route: Route, encoding: bytes, method: str
) -> None:
    plain = watching(route, method, b"Accept-Encoding: %b\r\n" % encoding)
    assert read_plain(plain) is not None
    async with running(Site()) as server:
        (told,) = await server.ask(plain, method=method)
        (usual,) = await server.ask(plain[:-2] + LIBRARY + b"\r\n", method=method)
    assert without_counts(as_told(told)) == without_counts(as_told(usual))


async def test_readiness_says_why_not_on_both_ways() -> None:
    site = Site()
    site.status.reason = "the disk is full"
    async with running(site) as server:
        (plain,) = await server.ask(watching(GET_READINESS))
        (usual,) = await server.ask(watching(GET_READINESS, more=LIBRARY))
    assert as_told(plain) == as_told(usual)
    assert plain[0].status_code == 503


async def test_what_is_plain_needs_no_web_framework() -> None:
    def load() -> QuartTrio:
        raise AssertionError("the web framework was loaded")

    site = Site()
    site.load = load
    async with running(site) as server:
        for data in (request(), *map(watching, WATCHED)):
            ((response, _),) = await server.ask(data)
            assert response.status_code in (200, 202)


async def test_every_route_that_may_be_plain_has_a_handler() -> None:
    for route in PLAIN_ROUTES:
        data = request() if route.method == "POST" else watching(route)
        plain = Site().express.recognise(data)
        assert plain is not None
        assert plain.route is route


@pytest.mark.parametrize("more", [b"", LIBRARY], ids=["express", "framework"])
async def test_a_request_that_is_to_be_the_last_is_answered_so_and_is(more: bytes) -> None:
    async with running(Site()) as server:
        for data in (request(more=b"Connection: close\r\n" + more),
                     watching(WATCHED[0], more=b"Connection: Close\r\n" + more)):  # fmt: skip
            async with await server.connect() as stream:
                await stream.send_all(data)
                response, _ = await read_reply(stream)
                assert response.status_code in (200, 202)
                assert (b"connection", b"close") in list(response.headers)
                with trio.fail_after(LINGER_S + 2):
                    assert await stream.receive_some() == b""


async def test_both_ways_count_a_request_alike() -> None:
    site = Site()
    async with running(site) as server:
        await server.ask(request())
        await server.ask(request(more=LIBRARY))
        await server.ask(request(b"nonsense"))
        await server.ask(request(b"nonsense", more=LIBRARY))
    text = site.metrics.render().decode()
    for code in (202, 400):
        line = f'alertd_http_requests_total{{code="{code}",method="POST",route="/api/events"}} 2.0'
        assert line in text
    assert 'alertd_http_request_duration_seconds_count{route="/api/events"} 4.0' in text


async def test_a_key_is_honoured_across_the_ways() -> None:
    site, key = Site(), b"Idempotency-Key: k\r\n"
    async with running(site) as server:
        (first,) = await server.ask(request(more=key))
        (again,) = await server.ask(request(more=key + LIBRARY))
        (other,) = await server.ask(request(b"[%b]" % EVENT, more=key))
        assert as_told(first) == as_told(again)
        assert other[0].status_code == 422
        assert server.batches == 1


@pytest.mark.parametrize("size", [3, 50, 190])
async def test_requests_of_both_kinds_share_a_connection_however_they_are_cut(size: int) -> None:
    site = Site()
    stream = request() + HEALTH + request(b"[%b]" % EVENT) + request(more=LIBRARY) + request()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    async with running(site) as server:
        replies = await server.ask(*pieces, replies=5)
        assert [response.status_code for response, _ in replies] == [202, 200, 202, 202, 202]
        assert server.batches == 4


async def test_a_body_that_stops_coming_is_408_and_the_end() -> None:
    async with running(Site(), keep_alive_timeout_secs=0.2) as server:
        async with await server.connect() as stream:
            await stream.send_all(request()[:-1])
            response, _ = await read_reply(stream)
            assert response.status_code == 408
            assert (b"connection", b"close") in list(response.headers)
            with trio.fail_after(LINGER_S + 2):
                assert await stream.receive_some() == b""
        assert server.batches == 0


async def test_a_client_that_leaves_in_its_body_stores_nothing() -> None:
    site = Site()
    async with running(site) as server:
        async with await server.connect() as stream:
            await stream.send_all(request()[:-1])
            await trio.testing.wait_all_tasks_blocked(0.01)
        (reply,) = await server.ask(request())
        assert reply[0].status_code == 202
        assert server.batches == 1


async def test_a_body_over_the_limit_is_413() -> None:
    async with running(Site()) as server:
        (reply,) = await server.ask(request(b" " * (MAX_BYTES + 1)))
        assert reply[0].status_code == 413
        assert server.batches == 0


async def test_the_reply_to_a_request_in_progress_at_shutdown_announces_the_end() -> None:
    async with running(Site()) as server, await server.connect() as stream:
        await stream.send_all(request()[:-1])
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.shutdown.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        await stream.send_all(request()[-1:])
        response, _ = await read_reply(stream)
        assert response.status_code == 202
        assert (b"connection", b"close") in list(response.headers)
        assert await stream.receive_some() == b""


NOT_PLAIN = (
    HEALTH.replace(b"GET", b"POST"),
    HEALTH.replace(b"GET", b"OPTIONS"),
    HEALTH.replace(b"/healthz", b"/healthz?a"),
    HEALTH.replace(b"/healthz", b"/healthz/"),
    HEALTH.replace(b"/healthz", b"/api/status"),
    HEALTH.replace(b"HTTP/1.1", b"HTTP/1.0"),
    HEALTH.replace(b"Host: a\r\n", b""),
    watching(WATCHED[0], more=b"Content-Length: 1\r\n"),
    watching(WATCHED[0], more=b"Accept-Encoding: gzip;q=0.5\r\n"),
    watching(WATCHED[0], more=b"Accept-Encoding: *\r\n"),
    watching(WATCHED[0], more=b"Accept-Encoding: gzip\r\nAccept-Encoding: zstd\r\n"),
    request().replace(b"POST", b"PUT"),
    request().replace(b"/api/events", b"/api/events?atomic=true"),
    request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    request().replace(b"Host: a\r\n", b""),
    request(more=b"Host: b\r\n"),
    request(more=b"Content-Length: 28\r\n"),
    request(more=b"Transfer-Encoding: chunked\r\n"),
    request(more=b"Expect: 100-continue\r\n"),
    request(more=b"Connection: close\r\nConnection: close\r\n"),
    request(more=b"Connection: keep-alive, upgrade\r\n"),
    request(more=b"Content-Encoding: gzip\r\n"),
    request(more=b"Upgrade: h2c\r\n"),
    request(more=b"Folded: a\r\n b\r\n"),
    request(more=b"Bad Name: a\r\n"),
    request(more=b"Space : a\r\n"),
    request(more=b"Bare: a\rb\r\n"),
    request(more=b"Feed: a\nContent-Length: 1\r\n"),
    request(more=b"Null: a\x00\r\n"),
    request(more=b"Latin: \xe9\r\n"),
    request(more=b"Idempotency-Key: \r\n"),
    request(more=b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n"),
    request().replace(b"Length: 28", b"Length: +28"),
    request().replace(b"Length: 28", b"Length: 2_8"),
    request().replace(b"application/json", b"text/plain"),
    request(more=b"Long: " + b"a" * 5_000 + b"\r\n"),
    request()[: len(PLAIN)],
)


@pytest.mark.parametrize("data", NOT_PLAIN, ids=range(len(NOT_PLAIN)))
def test_what_is_not_plain_is_left_to_the_library(data: bytes) -> None:
    assert read_plain(data) is None


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"Host: a",
                b"content-LENGTH:28",
                b"Content-Length: 028",
                b"Content-Type: application/json",
                b"Connection: Keep-Alive",
                b"Connection: CLOSE",
                b"Content-Length: 0",
                b"Accept-Encoding: gzip, br",
                b"Accept: */*",
                b"X:",
                b"X:\t v \t",
                b"Cookie: a=b; c",
                b"",
                b"Content-Length: 28, 28",
                b"Transfer-Encoding: identity",
            ]
        ),
        st.binary(max_size=12),
        st.from_regex(rb"[A-Za-z-]{1,6}: ?[ -~]{0,8}", fullmatch=True),
    ),
    max_size=6,
)


@pytest.mark.parametrize("media_type", [b"application/x-ndjson", b"Application/JSON;charset=UTF-8"])
def test_the_usual_spellings_are_plain(media_type: bytes) -> None:
    plain = read_plain(request().replace(b"application/json", media_type))
    assert plain is not None
    assert plain.media_type == media_type.lower().partition(b";")[0].decode()


@given(before=LINES, after=LINES)
def test_what_is_taken_is_what_the_library_would_have_read(
    before: list[bytes], after: list[bytes]
) -> None:
    usual = [*PLAIN.splitlines()[1:], b"Content-Length: 28"]
    lines = [b"POST /api/events HTTP/1.1", *before, *usual, *after, b"", EVENT]
    data = b"\r\n".join(lines)
    plain = read_plain(data)
    if plain is None:
        return
    library = h11.Connection(h11.SERVER)
    library.receive_data(data)
    parsed, body = library.next_event(), library.next_event()
    assert isinstance(parsed, h11.Request)
    assert isinstance(body, h11.Data)
    assert (parsed.method, parsed.target) == (b"POST", b"/api/events")
    assert body.data == data[plain.head_bytes : plain.head_bytes + plain.body_bytes]
    assert plain.is_last == (b"close" in dict(parsed.headers).get(b"connection", b"").lower())


@given(before=LINES, after=LINES)
def test_a_question_that_is_taken_is_what_the_library_would_have_read(
    before: list[bytes], after: list[bytes]
) -> None:
    data = b"\r\n".join([b"GET /metrics HTTP/1.1", *before, b"Host: a", *after, b"", b""])
    plain = read_plain(data)
    if plain is None:
        return
    library = h11.Connection(h11.SERVER)
    library.receive_data(data)
    parsed = library.next_event()
    assert isinstance(parsed, h11.Request)
    assert (parsed.method, parsed.target) == (b"GET", b"/metrics")
    assert isinstance(library.next_event(), h11.EndOfMessage)
    assert plain.body_bytes == 0
    assert library.trailing_data[0] == data[plain.head_bytes :]

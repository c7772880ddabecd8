"""Every limit is refused by name, counted by name, and stands in the table of docs/limits.md."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from alertd.access import Scope, Token, digest_of
from alertd.errors import Overloaded
from alertd.limits import BOUNDS, Limit
from tests.unit.http.fakes import MAX_BYTES, MAX_EVENTS, MAX_IN_FLIGHT, Site
from tests.unit.http.test_express import EVENT, LIBRARY, PLAIN, SOON_S, request, running
from tests.unit.http.test_rules import MINIMAL

PAGE = Path(__file__).parents[3] / "docs/limits.md"


def reached(site: Site, limit: Limit) -> float:
    value = site.metrics.registry.get_sample_value(
        "alertd_limits_reached_total", {"limit": limit.value}
    )
    assert value is not None, "each is shown before it is reached"
    return value


def event(**members: Any) -> bytes:
    return msgspec.json.encode({"metricName": "m"} | members)


EVENTS = {
    Limit.METRIC_NAME: (event(metricName="m" * 201), "must be 1 to 200 characters"),
    Limit.LABELS: (event(labels={f"l{n}": "" for n in range(33)}), "33 labels; at most 32"),
    Limit.LABEL_NAME: (event(labels={"l" * 101: ""}), "must be 1 to 100 printable characters"),
    Limit.LABEL_VALUE: (event(labels={"l": "v" * 1001}), "1001 characters; at most 1000"),
    Limit.EVENT_ID: (event(id="i" * 201), "must have 1 to 200 characters"),
    Limit.BODY: (b" " * (MAX_BYTES + 1), "server.max_body_bytes"),
    Limit.EVENTS_PER_REQUEST: (
        b"[" + b",".join([EVENT] * (MAX_EVENTS + 1)) + b"]",
        "server.max_events_per_request",
    ),
}


@pytest.mark.parametrize("lane", [b"", b"TE: trailers\r\n"], ids=["express", "framework"])
@pytest.mark.parametrize("limit", EVENTS)
async def test_a_limit_of_events_is_named_and_counted_on_both_lanes(
    limit: Limit, lane: bytes
) -> None:
    body, says = EVENTS[limit]
    site = Site()
    async with running(site) as server:
        ((response, text),) = await server.ask(request(body, more=lane))
    assert response.status_code in (413, 422)
    assert says in text.decode()
    assert reached(site, limit) == 1


async def test_a_limit_is_counted_where_the_neighbours_were_taken_too() -> None:
    site = Site()
    long_id = event(id="i" * 201)
    answer = await site.push(b"[%b,%b,%b]" % (EVENT, long_id, long_id))
    assert (answer.body["accepted"], answer.body["rejected"]) == (1, 2)
    assert reached(site, Limit.EVENT_ID) == 2


async def test_a_new_series_beyond_the_limit_is_named_and_counted() -> None:
    site = Site()
    site.registry._max_series = 1
    answer = await site.push(b"[%b,%b]" % (EVENT, event(labels={"a": "b"})))
    assert "engine.max_series" in answer.errors["/1/labels"]
    assert reached(site, Limit.SERIES) == 1


@pytest.mark.parametrize("lane", [b"", b"TE: trailers\r\n"], ids=["express", "framework"])
async def test_a_full_queue_and_a_used_up_allowance_are_named_and_counted(lane: bytes) -> None:
    token = Token(
        name="t", scopes=frozenset(Scope), digest=digest_of(b"secret"), max_requests_per_sec=1e-9
    )
    site = Site(token)
    site.log.failure = Overloaded("full (engine.max_queue_events)", 1, Limit.QUEUE)
    more = b"Authorization: Bearer secret\r\n" + lane
    async with running(site) as server:
        for limit, says in (
            (Limit.QUEUE, b"engine.max_queue_events"),
            (Limit.ALLOWANCE, b"max_requests_per_sec"),
        ):
            ((response, text),) = await server.ask(request(more=more))
            assert (response.status_code, says in text) == (429, True)
            assert reached(site, limit) == 1


async def test_a_page_that_is_too_long_is_named_and_counted() -> None:
    site = Site()
    answer = await site.send("GET", "/api/history?limit=1001")
    assert answer.errors == {"/limit": "must be a number from 1 to 1000"}
    assert reached(site, Limit.PAGE) == 1
    await site.send("GET", "/api/history?limit=none")
    assert reached(site, Limit.PAGE) == 1, "that was no number at all"


@pytest.mark.parametrize(
    ("pattern", "says"),
    [("=~" + "a" * 499, "longer than 500 characters"), (r"=~\pL{1000}", "too large")],
)
async def test_a_regular_expression_that_is_too_large_is_named(pattern: str, says: str) -> None:
    site = Site()
    answer = await site.send("POST", "/api/alerts", MINIMAL | {"matchers": {"a": pattern}})
    assert answer.status == 422
    assert re.search(says, answer.errors["/matchers/a"])
    assert reached(site, Limit.PATTERN) == 1


async def test_a_rule_too_many_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alertd.rulebook.MAX_RULES", 0)
    site = Site()
    answer = await site.send("POST", "/api/alerts", MINIMAL)
    assert (answer.status, answer.body["detail"]) == (
        409,
        "there are 0 rules already; delete one first",
    )
    assert reached(site, Limit.RULES) == 1


async def test_a_head_that_is_too_long_is_431_and_says_so() -> None:
    site = Site()
    async with running(site) as server:
        long = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000
        ((response, text),) = await server.ask(long)
    assert response.status_code == 431
    assert b"more than 16384 bytes" in text
    assert reached(site, Limit.HEAD) == 1


@asynccontextmanager
async def hasty(site: Site) -> AsyncIterator[Any]:
    async with running(site, keep_alive_timeout_secs=0.1, send_timeout_secs=0.1) as server:
        yield server


async def until_counted(site: Site, limit: Limit) -> None:
    with trio.fail_after(SOON_S):
        while reached(site, limit) != 1:
            await trio.sleep(0.01)


async def test_a_slow_head_is_counted_and_a_silent_client_is_not() -> None:
    site = Site()
    async with hasty(site) as server:
        async with await server.connect() as silent, await server.connect() as slow:
            await slow.send_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n")
            await until_counted(site, Limit.HEAD_TIME)
            with trio.fail_after(SOON_S):
                assert await silent.receive_some() == b""
        assert reached(site, Limit.HEAD_TIME) == 1


@pytest.mark.parametrize("end", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
async def test_a_slow_body_is_408_and_says_how_long_it_may_take(end: bytes) -> None:
    site = Site()
    async with hasty(site) as server:
        ((response, text),) = await server.ask(PLAIN + end + b"\r\n\r\n1")
    assert response.status_code == 408
    assert b"within 0.1 s (server.keep_alive_timeout_secs)" in text
    assert reached(site, Limit.BODY_TIME) == 1


async def test_a_client_that_does_not_read_is_counted() -> None:
    site = Site()
    async with hasty(site) as server, await server.connect() as client:
        with trio.move_on_after(SOON_S):
            await client.send_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 2_000)
        await until_counted(site, Limit.SEND_TIME)


async def test_a_connection_too_many_is_counted() -> None:
    site = Site()
    async with running(site, max_connections=1) as server, await server.connect() as first:
        await first.send_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        await first.receive_some()
        async with await server.connect() as second:
            assert b"server.max_connections" in await second.receive_some()
    assert reached(site, Limit.CONNECTIONS) == 1


@pytest.mark.parametrize("lane", [b"", b"TE: trailers\r\n"], ids=["express", "framework"])
async def test_a_request_too_many_is_503_and_others_are_answered(lane: bytes) -> None:
    site = Site()
    site.log.gate = trio.Event()
    async with running(site) as server, trio.open_nursery() as nursery:
        for _ in range(MAX_IN_FLIGHT):
            nursery.start_soon(server.ask, request(more=lane))
        await trio.testing.wait_all_tasks_blocked(0.01)
        ((response, text),) = await server.ask(request(more=lane))
        assert (response.status_code, dict(response.headers)[b"retry-after"]) == (503, b"1")
        assert b"server.max_requests_in_flight" in text
        assert reached(site, Limit.REQUESTS_IN_FLIGHT) == 1
        for path in (b"healthz", b"readyz", b"metrics"):
            watching = b"GET /%b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (path, lane)
            ((response, _),) = await server.ask(watching)
            assert response.status_code == 200
        site.log.gate.set()
    assert len(site.log.batches) == MAX_IN_FLIGHT
    assert site.metrics.registry.get_sample_value("alertd_http_requests_in_flight") == 0
    assert (await site.push(EVENT)).status == 202


async def test_slow_bodies_take_nobodys_place() -> None:
    site = Site()
    head = PLAIN + b"TE: trailers\r\nContent-Length: %d\r\n\r\n" % len(EVENT)
    async with running(site) as server, AsyncExitStack() as clients:
        slow = [await clients.enter_async_context(await server.connect()) for _ in range(9)]
        for client in slow:
            await client.send_all(head)
        await trio.testing.wait_all_tasks_blocked(0.01)
        ((response, _),) = await server.ask(request(more=LIBRARY))
        assert response.status_code == 202
    assert len(slow) > MAX_IN_FLIGHT


def test_the_docs_list_the_limits_as_they_are() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.M)
    assert rows == [
        (limit.value, bound.what, f"`{bound.setting}`" if "." in bound.setting else bound.setting,
         bound.answer)
        for limit, bound in BOUNDS.items()
    ]  # fmt: skip
    assert list(BOUNDS) == list(Limit)

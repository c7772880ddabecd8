"""What a request leaves behind: nothing that only a search for garbage would free."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from hypercorn.protocol.h11 import H11Protocol
from werkzeug.exceptions import HTTPException

from alertd.http.connection import Connection
from tests.unit.http.fakes import Site
from tests.unit.http.test_express import running

REFUSED = {
    "no such resource": b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
    "another method": b"DELETE /api/events HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "another content type": (
        b"POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Type: text/html\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    ),
    "not JSON": (
        b"POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1\r\n\r\n{"
    ),
}


def errors() -> list[HTTPException]:
    return [each for each in gc.get_objects() if isinstance(each, HTTPException)]


@pytest.fixture
def without_a_search() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_a_search")
@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
async def test_an_error_goes_with_its_request(request_: bytes) -> None:
    async with running(Site()) as server, await server.connect() as client:
        before = len(errors())
        for _ in range(5):
            await client.send_all(request_)
            answer = b""
            while not answer.endswith(b"}"):
                answer += await client.receive_some()
            assert answer.startswith(b"HTTP/1.1 4")
        await trio.testing.wait_all_tasks_blocked()
        assert len(errors()) == before, "those of before are the library's own"


def connections() -> list[object]:
    return [each for each in gc.get_objects() if isinstance(each, (Connection, H11Protocol))]


@pytest.mark.usefixtures("without_a_search")
async def test_a_connection_is_freed_when_it_ends() -> None:
    async with running(Site()) as server:
        before = len(connections())
        async with await server.connect() as client:
            await client.send_all(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await client.receive_some()
            assert len(connections()) == before + 2
        await trio.testing.wait_all_tasks_blocked()
        assert len(connections()) == before

"""Replies are compressed for those who ask for it, and for nobody else."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
import zstandard

from alertd.http.compression import MIN_BYTES
from tests.unit.http.fakes import Answer, Site
from tests.unit.http.test_rules import MINIMAL

INFLATE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.decompress(data),
}


async def ask(accept_encoding: str | None, path: str = "/metrics", method: str = "GET") -> Answer:
    headers = {} if accept_encoding is None else {"Accept-Encoding": accept_encoding}
    return await Site().ask(method, path, **headers)


@pytest.mark.parametrize(
    ("accept_encoding", "encoding"),
    [
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.4, gzip;q=0.5", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
    ],
)
async def test_a_reply_is_compressed_as_the_client_likes_best(
    accept_encoding: str, encoding: str
) -> None:
    answer = await ask(accept_encoding)
    assert answer.headers["Content-Encoding"] == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    inflated = INFLATE[encoding](answer.body)
    assert b"alertd_events_accepted_total" in inflated
    assert len(answer.body) < len(inflated) / 2


@pytest.mark.parametrize(
    "accept_encoding",
    [None, "", "br", "identity", "gzip;q=0", "*;q=0", "identity, gzip;q=0.5", ";;q=,", "é"],
)
async def test_a_reply_is_as_it_is_for_a_client_that_does_not_ask(
    accept_encoding: str | None,
) -> None:
    answer = await ask(accept_encoding)
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert b"alertd_events_accepted_total" in answer.body


async def test_what_is_short_and_what_is_an_error_stays_as_it_is() -> None:
    for path in ("/healthz", "/api/nothing", "/api/alerts"):
        answer = await ask("gzip", path)
        assert "Content-Encoding" not in answer.headers


async def test_a_large_reply_is_compressed_too() -> None:
    answer = await ask("zstd", "/openapi.json")
    assert answer.headers["Content-Encoding"] == "zstd"
    assert b'"openapi"' in INFLATE["zstd"](answer.body)


async def test_a_compressed_rule_has_a_weak_tag_that_can_be_sent_back() -> None:
    site = Site()
    rule = {**MINIMAL, "description": "long " * MIN_BYTES}
    made = await site.send("POST", "/api/alerts", rule)
    path = f"/api/alerts/{made.body['id']}"
    shown = await site.ask("GET", path, Accept_Encoding="gzip")
    assert (shown.headers["Content-Encoding"], shown.headers["ETag"]) == ("gzip", 'W/"1"')
    edited = await site.send("PATCH", path, {"threshold": 7}, If_Match=shown.headers["ETag"])
    assert (edited.status, edited.headers["ETag"]) == (200, '"2"')

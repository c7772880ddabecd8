"""The header ``Idempotency-Key`` of ``POST /api/events``."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from alertd.errors import Overloaded, StoreUnavailable
from tests.unit.http.fakes import Answer, Site

EVENTS = [{"metricName": "m", "id": "1"}, {"metricName": "m", "value": "x"}, {"metricName": "m"}]


async def test_a_repetition_has_the_status_and_the_body_of_the_first() -> None:
    site = Site()
    first = await site.push(EVENTS, Idempotency_Key="k 1")
    assert (first.status, first.body["accepted"], first.body["rejected"]) == (202, 2, 1)
    again = await site.push(EVENTS, Idempotency_Key="k 1")
    assert (again.status, again.body) == (202, first.body)
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert len(site.log.batches) == 1
    text = site.metrics.render().decode()
    assert "alertd_requests_repeated_total 1.0" in text
    assert 'alertd_events_rejected_total{reason="malformed"} 1.0' in text
    without = await site.push(EVENTS)
    assert without.body["duplicates"] == 1


async def test_another_body_content_type_or_mode_under_the_key_is_422() -> None:
    site = Site()
    body = b'{"metricName": "m"}'
    await site.push(body, Idempotency_Key="k")
    others = [
        await site.push(body + b" ", Idempotency_Key="k"),
        await site.push(body, "?atomic=true", Idempotency_Key="k"),
        await site.send(
            "POST", "/api/events", body, "application/x-ndjson", Idempotency_Key="k"
        ),
    ]  # fmt: skip
    assert [answer.status for answer in others] == [422] * 3
    assert "a key of its own" in others[0].body["detail"]
    assert others[0].headers["Content-Type"] == "application/problem+json"
    assert len(site.log.batches) == 1
    assert (await site.push(body, Idempotency_Key="k")).status == 202


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb", "\x7f", "é"])
async def test_a_key_that_cannot_be_is_400(key: str) -> None:
    site = Site()
    answer = await site.push(EVENTS, Idempotency_Key=key)
    assert answer.status == 400
    assert "1 to 200 printable characters" in answer.body["detail"]
    assert not site.log.batches


@pytest.mark.parametrize("key", ["x", "x" * 200, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "~ ,;"])
async def test_a_printable_key_of_up_to_200_characters_is_taken(key: str) -> None:
    assert (await Site().push(EVENTS, Idempotency_Key=key)).status == 202


async def test_what_was_not_accepted_can_be_mended_under_the_same_key() -> None:
    site = Site()
    wrong = [{"metricName": "m", "value": "x"}]
    for body, status in ((wrong, 422), (b"junk", 400)):
        for _ in range(2):
            assert (await site.push(body, Idempotency_Key="k")).status == status
    for failure, status in (
        (Overloaded("full", retry_after_s=1), 429),
        (StoreUnavailable("down"), 503),
    ):
        site.log.failure = failure
        assert (await site.push(EVENTS, Idempotency_Key="k")).status == status
    site.log.failure = None
    assert (await site.push(EVENTS, Idempotency_Key="k")).status == 202
    assert len(site.log.batches) == 1


async def test_the_second_of_two_at_once_waits_for_the_first() -> None:
    site = Site()
    site.log.gate = trio.Event()
    answers: dict[str, Answer] = {}

    async def push(name: str, body: object) -> None:
        answers[name] = await site.push(body, Idempotency_Key="k")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(push, "first", EVENTS)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(push, "same", EVENTS)
        nursery.start_soon(push, "other", [])
        nursery.start_soon(push, "same again", EVENTS)
        await trio.testing.wait_all_tasks_blocked()
        assert not answers
        site.log.gate.set()
    assert {name: answer.status for name, answer in answers.items()} == {
        "first": 202, "same": 202, "same again": 202, "other": 422,
    }  # fmt: skip
    assert answers["first"].body == answers["same"].body == answers["same again"].body
    assert len(site.log.batches) == 1

"""Feeding an Alertmanager: what is posted, how long it lasts, and what never overtakes what."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import trio
from msgspec import structs

from alertd.channels.alertmanager import AlertmanagerChannel
from alertd.channels.http_client import HttpClient
from alertd.channels.message import IncidentView, MessageKind
from alertd.channels.protocol import Delivered, Permanent, ReadPages, Retryable
from alertd.channels.secret import Secret
from tests.receivers import Answer, HttpReceiver, http_receiver
from tests.unit.channels.messages import incident, message, resolved

NOW_S = 1_751_295_700.0  # 2025-06-30T15:01:40Z


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as running:
        yield running


@pytest.fixture
async def channel(receiver: HttpReceiver) -> AsyncIterator[AlertmanagerChannel]:
    client = HttpClient(allow_private=True)
    yield AlertmanagerChannel(
        receiver.url("/prefix/"),
        client,
        owns_client=True,
        timeout_s=5,
        resend_interval_s=60,
        ends_after_s=3600,
        headers={"Authorization": Secret("Bearer x")},
        now_s=lambda: NOW_S,
    )
    await client.aclose()


def pages(*views: Sequence[IncidentView]) -> ReadPages:
    async def read() -> AsyncGenerator[Sequence[IncidentView], None]:
        for page in views:
            await trio.lowlevel.checkpoint()
            yield page

    return read


def posted(receiver: HttpReceiver) -> list[list[dict[str, Any]]]:
    return [json.loads(request.body) for request in receiver.received]


def ends(receiver: HttpReceiver) -> list[list[str]]:
    return [[alert["endsAt"][11:19] for alert in body] for body in posted(receiver)]


async def test_what_is_on_ends_in_the_future_and_what_has_ended_ended_when_it_did(
    receiver: HttpReceiver, channel: AlertmanagerChannel
) -> None:
    assert await channel.send(message()) == Delivered()
    assert await channel.send(message(resolved())) == Delivered()
    assert [request.path for request in receiver.received] == ["/prefix/api/v2/alerts"] * 2
    assert receiver.received[0].headers["authorization"] == "Bearer x"
    [[fired], [ended]] = posted(receiver)
    assert fired == {
        "labels": {"alertname": "High Error Count", "service": "payment", "severity": "critical"},
        "annotations": {
            "runbook_url": "https://runbooks.example/errors?a=1&b=2",
            "summary": "High Error Count: service=payment has 137 > 100",
        },
        "startsAt": "2025-06-30T15:00:00.000000Z",
        "endsAt": "2025-06-30T16:01:40.000000Z",
        "generatorURL": incident().history_url,
    }
    assert (ended["labels"], ended["endsAt"]) == (fired["labels"], "2025-06-30T15:07:00.000000Z")


async def test_a_test_alert_ends_by_itself(
    receiver: HttpReceiver, channel: AlertmanagerChannel
) -> None:
    await channel.send(message(kind=MessageKind.TEST))
    assert ends(receiver) == [["15:02:40"]]


async def test_the_end_of_an_incident_does_not_end_a_later_one_with_the_same_labels(
    receiver: HttpReceiver, channel: AlertmanagerChannel
) -> None:
    later = structs.replace(incident(id="later"), started_at="2025-06-30T15:01:00.000000Z")
    await channel.send(message(later))
    assert await channel.send(message(incident(), resolved())) == Delivered()
    await channel.send(message(later, resolved()))
    assert ends(receiver) == [["16:01:40"], ["16:01:40"]]
    over = structs.replace(later, state="resolved", ended_at="2025-06-30T15:08:00.000000Z")
    await channel.send(message(over))
    await channel.send(message(resolved()))
    assert ends(receiver)[2:] == [["15:08:00"], ["15:07:00"]]


async def test_what_is_told_again_tells_also_what_is_on_now(
    receiver: HttpReceiver, channel: AlertmanagerChannel
) -> None:
    """So a restart of alertd does not forget what an end may not overtake."""
    later = structs.replace(incident(id="later"), started_at="2025-06-30T15:01:00.000000Z")
    assert await channel.resend(pages([], [later])) == Delivered()
    await channel.send(message(resolved()))
    assert await channel.resend(pages()) == Delivered()
    await channel.send(message(resolved()))
    assert ends(receiver) == [["16:01:40"], ["15:07:00"]]


async def test_nothing_that_is_told_again_overtakes_an_end(
    receiver: HttpReceiver, channel: AlertmanagerChannel
) -> None:
    reading, go_on = trio.Event(), trio.Event()

    async def read() -> AsyncGenerator[Sequence[IncidentView], None]:
        reading.set()
        await go_on.wait()
        yield [incident()]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.resend, read)
        await reading.wait()
        nursery.start_soon(channel.send, message(resolved()))
        await trio.testing.wait_all_tasks_blocked()
        assert receiver.received == []
        go_on.set()
    assert ends(receiver) == [["16:01:40"], ["15:07:00"]]


async def test_a_page_that_is_not_taken_is_the_last(
    receiver: HttpReceiver, channel: AlertmanagerChannel
) -> None:
    receiver.script = [Answer(), Answer(503), Answer(400)]
    views = [incident(id=name, group_labels={"host": name}) for name in "abc"]
    outcome = await channel.resend(pages(*([view] for view in views)))
    assert outcome == Retryable("127.0.0.1 answered 503", was_refused=True)
    assert len(receiver.received) == 2
    assert await channel.send(message()) == Permanent("127.0.0.1 answered 400")

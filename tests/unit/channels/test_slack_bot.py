"""Slack by a bot's token, against a receiver that answers as Slack's Web API does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from alertd.channels.http_client import HttpClient
from alertd.channels.message import MessageKind
from alertd.channels.protocol import Delivered, FollowsUp, Permanent, Retryable
from alertd.channels.secret import Secret
from alertd.channels.slack import MRKDWN, payload
from alertd.channels.slack_bot import FollowUp, SlackBot
from alertd.channels.words import Words
from alertd.outbound import Earlier
from tests.receivers import Answer, HttpReceiver, http_receiver
from tests.unit.channels.messages import incident, message, resolved

TOKEN = "xoxb-1-CANARY"
RECEIPT = "C024BE91L 1503435956.000247"
SAME = Earlier(RECEIPT, tells_the_same=True)
MORE = Earlier(RECEIPT, tells_the_same=False)


def says(status: int = 200, /, headers: dict[str, str] | None = None, **body: Any) -> Answer:
    return Answer(status, headers or {}, json.dumps(body, separators=(",", ":")).encode())


POSTED = says(ok=True, channel="C024BE91L", ts="1503435956.000247", message={"text": "…"})


@pytest.fixture
def slack() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        receiver.otherwise = POSTED
        yield receiver


def bot(
    slack: HttpReceiver, client: HttpClient, style: FollowUp = "thread", words: Words | None = None
) -> SlackBot:
    return SlackBot(
        slack.url("/api/"),
        client,
        Secret(TOKEN),
        "#alerts",
        owns_client=False,
        timeout_s=5,
        follow_up=style,
        words=words or Words(None, None, MRKDWN),
        now_s=lambda: 0.0,
    )


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient(allow_private=True)
    yield client
    await client.aclose()


def calls(slack: HttpReceiver) -> list[tuple[str, dict[str, Any]]]:
    """Each call's method and its arguments but for the payload."""
    shown = payload(message()).keys()
    return [
        (
            request.path.removeprefix("/api/"),
            {key: value for key, value in json.loads(request.body).items() if key not in shown},
        )
        for request in slack.received
    ]


async def test_a_message_is_posted_and_its_receipt_kept(
    slack: HttpReceiver, client: HttpClient
) -> None:
    assert await bot(slack, client).send(message()) == Delivered(receipt=RECEIPT)
    [request] = slack.received
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert calls(slack) == [("chat.postMessage", {"channel": "#alerts"})]
    body = json.loads(request.body)
    assert {key: body[key] for key in ("text", "attachments")} == payload(message())


async def test_what_follows_stands_in_the_thread(slack: HttpReceiver, client: HttpClient) -> None:
    channel = bot(slack, client)
    assert isinstance(channel, FollowsUp)
    assert await channel.follow_up(message(resolved()), MORE) == Delivered(receipt=RECEIPT)
    thread = {"channel": "C024BE91L", "thread_ts": "1503435956.000247", "reply_broadcast": False}
    assert calls(slack) == [("chat.postMessage", thread)]


async def test_a_repeat_is_for_all_to_see_in_either_style(
    slack: HttpReceiver, client: HttpClient
) -> None:
    for style in ("thread", "update"):
        await bot(slack, client, style).follow_up(message(kind=MessageKind.REPEAT), SAME)
    assert [arguments["reply_broadcast"] for _, arguments in calls(slack)] == [True, True]


async def test_a_message_is_changed_only_if_all_that_it_told_of_is_told_anew(
    slack: HttpReceiver, client: HttpClient
) -> None:
    channel = bot(slack, client, "update")
    await channel.follow_up(message(resolved()), SAME)
    await channel.follow_up(message(resolved()), MORE)
    first, second = calls(slack)
    assert first == ("chat.update", {"channel": "C024BE91L", "ts": "1503435956.000247"})
    assert second[0] == "chat.postMessage"
    assert second[1]["thread_ts"] == "1503435956.000247"


async def test_where_the_earlier_message_is_gone_the_next_best_place_is_taken(
    slack: HttpReceiver, client: HttpClient
) -> None:
    slack.script = [
        says(ok=False, error="message_not_found"),
        says(ok=False, error="thread_not_found"),
    ]
    assert isinstance(await bot(slack, client, "update").follow_up(message(), SAME), Delivered)
    assert [method for method, _ in calls(slack)] == [
        *("chat.update", "chat.postMessage", "chat.postMessage")
    ]
    assert calls(slack)[-1] == ("chat.postMessage", {"channel": "#alerts"})


async def test_what_follows_in_a_room_that_the_bot_has_left_is_posted_in_the_one_of_now(
    slack: HttpReceiver, client: HttpClient
) -> None:
    """A reload has named another room while the incident was on."""
    slack.script = [says(ok=False, error="not_in_channel")]
    assert isinstance(await bot(slack, client).follow_up(message(), SAME), Delivered)
    assert calls(slack)[-1] == ("chat.postMessage", {"channel": "#alerts"})
    slack.script = [says(ok=False, error="not_in_channel")]
    refused = await bot(slack, client).send(message())
    assert refused == Permanent("Slack refused it: not_in_channel")


async def test_a_receipt_that_is_none_of_slacks_is_not_used(
    slack: HttpReceiver, client: HttpClient
) -> None:
    await bot(slack, client).follow_up(message(), Earlier("../x 1", tells_the_same=True))
    assert calls(slack) == [("chat.postMessage", {"channel": "#alerts"})]
    slack.otherwise = says(ok=True, channel="<bad>", ts="1")
    assert await bot(slack, client).send(message()) == Delivered()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            says(429, {"Retry-After": "30"}, ok=False, error="ratelimited"),
            Retryable("127.0.0.1 answered 429 (ratelimited)", 30, was_refused=True),
        ),
        (
            says(200, {"Retry-After": "7"}, ok=False, error="ratelimited"),
            Retryable("Slack refused it: ratelimited", 7, was_refused=True),
        ),
        (says(ok=False, error="internal_error"), Retryable("Slack refused it: internal_error")),
        (says(503), Retryable("127.0.0.1 answered 503", was_refused=True)),
        (says(ok=False, error="invalid_auth"), Permanent("Slack refused it: invalid_auth")),
        (
            says(ok=False, error="channel_not_found"),
            Permanent("Slack refused it: channel_not_found"),
        ),
        (says(ok=False, error=f"<{TOKEN}>"), Permanent("Slack refused it: without a reason")),
        (says(ok=False), Permanent("Slack refused it: without a reason")),
        (Answer(body=b"<html>log in"), Retryable("127.0.0.1 answered, but not as Slack does")),
        (Answer(body=b"[]"), Retryable("127.0.0.1 answered, but not as Slack does")),
        (says(ok=True, message={"text": "x" * 100_000}), Delivered()),
        (
            says(ok=True, channel="C1", ts="2.3", message={"text": "x" * 100_000}),
            Delivered(receipt="C1 2.3"),
        ),
    ],
)
async def test_an_answer_decides_what_becomes_of_the_message(
    slack: HttpReceiver, client: HttpClient, answer: Answer, outcome: object
) -> None:
    slack.script = [answer]
    assert await bot(slack, client).send(message()) == outcome


async def test_words_of_ones_own_are_posted_too(slack: HttpReceiver, client: HttpClient) -> None:
    words = Words("{{ incident.rule }}", "*{{ 1 / (firing - 2) }}*", MRKDWN)
    assert await bot(slack, client, words=words).send(message()) == Delivered(receipt=RECEIPT)
    assert json.loads(slack.received[0].body)["text"] == "High Error Count"
    two = message(incident(id="a"), incident(id="b"))
    outcome = await bot(slack, client, words=words).send(two)
    assert isinstance(outcome, Delivered)
    assert "division by zero" in outcome.fault

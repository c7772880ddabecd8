from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from msgspec import structs

from alertd.channels.http_client import HttpClient
from alertd.channels.message import IncidentView, MessageKind
from alertd.channels.protocol import Delivered, Permanent, Retryable
from alertd.channels.slack import SlackChannel, payload
from tests.receivers import Answer, HttpReceiver, http_receiver
from tests.unit.channels.messages import INCIDENT_ID, incident, message, resolved


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as running:
        yield running


@pytest.fixture
async def channel(receiver: HttpReceiver) -> AsyncIterator[SlackChannel]:
    client = HttpClient(allow_private=True)
    url = receiver.url("/services/T000/B000/XXXXXXXX")
    yield SlackChannel(url, client, owns_client=True, timeout_s=5, now_s=lambda: 0.0)
    await client.aclose()


def texts(node: Any) -> Iterator[str]:
    """Every text in a payload."""
    if isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, str):
        yield node


async def test_a_message_arrives_as_json_with_text_and_blocks(
    receiver: HttpReceiver, channel: SlackChannel
) -> None:
    assert await channel.send(message()) == Delivered()
    [request] = receiver.wait_for(1)
    assert request.headers["content-type"].startswith("application/json")
    body = json.loads(request.body)
    assert body["text"].startswith("FIRING: High Error Count (service=payment)\n")
    [attachment] = body["attachments"]
    assert attachment["color"] == "#d00000"
    header, section, context = attachment["blocks"]
    assert header["type"] == "header"
    assert header["text"] == {"type": "plain_text", "text": "FIRING: High Error Count"}
    assert section["type"] == "section"
    shown = [field["text"] for field in section["fields"]]
    assert "*Where*\nservice=payment" in shown
    assert "*Value*\n137, alert if &gt; 100" in shown
    assert "*Since*\n2025-06-30 15:00:00 UTC" in shown
    links = context["elements"][0]["text"]
    assert f"<http://127.0.0.1:9470/api/incidents/{INCIDENT_ID}|History>" in links
    assert "<https://runbooks.example/errors?a=1&amp;b=2|Runbook>" in links


@pytest.mark.parametrize(
    ("view", "colour", "word"),
    [
        (incident(severity="critical"), "#d00000", "FIRING"),
        (incident(severity="error"), "#e8590c", "FIRING"),
        (incident(severity="warning"), "#f2c744", "FIRING"),
        (incident(severity="info"), "#3b82f6", "FIRING"),
        (resolved(), "#2eb886", "RESOLVED"),
        (resolved("no_data"), "#8d8d8d", "ENDED"),
        (resolved("rule_deleted"), "#8d8d8d", "ENDED"),
    ],
)
def test_the_colour_is_the_severitys_and_green_is_only_a_known_recovery(
    view: IncidentView, colour: str, word: str
) -> None:
    [attachment] = payload(message(view))["attachments"]
    assert attachment["color"] == colour
    assert attachment["blocks"][0]["text"]["text"].startswith(f"{word}: ")


def test_markup_in_names_and_labels_is_shown_and_not_obeyed() -> None:
    hostile = "<!channel> & <https://evil.example|click>"
    view = incident(rule_name=hostile, group_labels={"host": hostile}, message=hostile)
    body = payload(message(view))
    for text in texts(body):
        assert "<!channel>" not in text
        assert "<https://evil" not in text
    assert "&lt;!channel&gt; &amp; &lt;https" in body["text"]


@pytest.mark.parametrize("character", ["x", "&", "<", "ü"])
def test_long_texts_are_cut_to_slacks_limits_without_breaking_an_entity(character: str) -> None:
    long = character * 20_000
    view = incident(
        rule_name=long,
        message=long,
        group_labels={long: long},
        severity=long,
        runbook_url="https://runbooks.example/" + long,
    )
    body = payload(message(view))
    assert len(body["text"]) <= 3000
    [attachment] = body["attachments"]
    header, section, *_ = attachment["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3000
    assert len(section["fields"]) <= 10
    assert all(len(field["text"]) <= 2000 for field in section["fields"])
    for text in texts(body):
        remains = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert "&" not in remains


def test_a_thousand_incidents_stay_within_slacks_blocks_and_are_counted() -> None:
    views = [incident(id=str(n), rule_name=f"rule {n}") for n in range(1000)]
    body = payload(message(*views))
    blocks = [block for attachment in body["attachments"] for block in attachment["blocks"]]
    assert len(blocks) <= 50
    assert "and 990 more" in blocks[-1]["elements"][0]["text"]
    assert body["text"].startswith("1000 firing: ")


def test_no_text_is_empty_for_slack_refuses_those() -> None:
    view = incident(message="", severity="", group_labels={"": ""}, runbook_url=None)
    for text in texts(payload(message(view))):
        assert text


def test_a_message_without_incidents_still_says_something() -> None:
    body = payload(structs.replace(message(kind=MessageKind.TEST), incidents=()))
    assert body == {"text": "[test] alertd: test", "attachments": []}


async def test_slacks_error_code_is_in_the_reason_and_nothing_else_of_its_reply(
    receiver: HttpReceiver, channel: SlackChannel
) -> None:
    receiver.script = [
        Answer(400, body=b"invalid_blocks"),
        Answer(404, body=b"no_service\n"),
        Answer(403, body=b"<html>/services/T000/B000/XXXXXXXX"),
        Answer(429, {"Retry-After": "30"}, body=b"rate_limited"),
    ]
    outcomes = [await channel.send(message()) for _ in range(4)]
    assert outcomes == [
        Permanent("127.0.0.1 answered 400 (invalid_blocks)"),
        Permanent("127.0.0.1 answered 404 (no_service)"),
        Permanent("127.0.0.1 answered 403"),
        Retryable("127.0.0.1 answered 429 (rate_limited)", 30.0, was_refused=True),
    ]


async def test_the_path_is_never_shown(receiver: HttpReceiver, channel: SlackChannel) -> None:
    assert channel.redacted_endpoint == f"http://127.0.0.1:{receiver.port}"
    assert "XXXX" not in repr(channel)

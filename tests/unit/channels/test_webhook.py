from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from alertd import __version__
from alertd.channels.http_client import MAX_REPLY_BYTES, HttpClient, Reply, judge
from alertd.channels.message import MessageKind
from alertd.channels.protocol import Delivered, Outcome, Permanent, Retryable
from alertd.channels.secret import Secret
from alertd.channels.webhook import WebhookChannel
from tests.receivers import (
    Answer,
    HttpReceiver,
    closed_port,
    gzip_bomb,
    http_receiver,
    make_authority,
)
from tests.unit.channels.messages import KEY, message, resolved

NOW_S = 1_751_295_600.25
TOKEN = "T0K3N-in-the-path"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient(allow_private=True)
    yield client
    await client.aclose()


def channel_to(
    url: str,
    client: HttpClient,
    *,
    secret: str | None = None,
    headers: dict[str, str] | None = None,
    timeout_s: float = 5.0,
) -> WebhookChannel:
    return WebhookChannel(
        url,
        client,
        owns_client=False,
        timeout_s=timeout_s,
        headers={name: Secret(value) for name, value in (headers or {}).items()},
        secret=Secret(secret) if secret else None,
        now_s=lambda: NOW_S,
    )


async def test_the_body_is_the_message_and_the_headers_say_what_it_is(
    receiver: HttpReceiver, client: HttpClient
) -> None:
    channel = channel_to(receiver.url("/a?b=c"), client, headers={"X-Team": "payments"})
    assert await channel.send(message()) == Delivered()
    [request] = receiver.wait_for(1)
    assert request.path == "/a?b=c"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"alertd/{__version__}"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["idempotency-key"] == KEY
    assert request.headers["x-team"] == "payments"
    assert "x-alertd-signature" not in request.headers
    body = json.loads(request.body)
    assert body["version"] == 1
    assert body["notificationId"] == body["idempotencyKey"] == KEY
    assert body["kind"] == "firing"
    assert body["incidents"][0]["ruleName"] == "High Error Count"
    assert body["incidents"][0]["groupLabels"] == {"service": "payment"}
    assert body["incidents"][0]["value"] == 137.0
    assert body["incidents"][0]["endedAt"] is None


async def test_the_signature_is_the_hmac_of_time_and_body(
    receiver: HttpReceiver, client: HttpClient
) -> None:
    await channel_to(receiver.url(), client, secret="käse").send(message())
    [request] = receiver.wait_for(1)
    signed = b"1751295600." + request.body
    digest = hmac.digest("käse".encode(), signed, hashlib.sha256).hex()
    assert request.headers["x-alertd-signature"] == f"t=1751295600,v1={digest}"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *[(status, Delivered()) for status in (200, 201, 202, 204, 299)],
        *[(status, Retryable) for status in (408, 425, 429, 500, 502, 503, 504, 599)],
        *[(status, Permanent) for status in (301, 302, 304, 307, 308)],
        *[(status, Permanent) for status in (400, 401, 403, 404, 405, 410, 413, 422, 451)],
    ],
)
def test_a_status_decides_whether_to_try_again(
    status: int, expected: Outcome | type[Outcome]
) -> None:
    outcome = judge(Reply(status, "7", b""), "hooks.example", NOW_S)
    if isinstance(expected, type):
        assert isinstance(outcome, expected)
    else:
        assert outcome == expected
    if not isinstance(outcome, Delivered):
        assert str(status) in outcome.reason
    if isinstance(outcome, Retryable):
        assert outcome.wait_s == 7.0
        assert outcome.was_refused is (status in (408, 425, 429, 503)), "else it may be done"


async def test_what_left_may_have_arrived_and_what_could_not_leave_has_not(
    receiver: HttpReceiver, client: HttpClient
) -> None:
    receiver.script = [Answer(), Answer(drop=True), Answer(stall=True), Answer(drop=True)]
    channel = channel_to(receiver.url(), client, timeout_s=0.2)
    assert await channel.send(message()) == Delivered()
    for _ in range(3):  # the first of these goes over the connection that is there already
        outcome = await channel.send(message())
        assert isinstance(outcome, Retryable)
        assert not outcome.was_refused, outcome
    # A server that never shakes hands has read nothing of the request.
    tls = channel_to(receiver.url().replace("http:", "https:"), client, timeout_s=0.2)
    outcome = await tls.send(message())
    assert isinstance(outcome, Retryable)
    assert outcome.was_refused, outcome


async def test_retry_after_reaches_the_outcome(receiver: HttpReceiver, client: HttpClient) -> None:
    date = "Mon, 30 Jun 2025 15:01:00 GMT"
    receiver.script = [Answer(429, {"Retry-After": "12"}), Answer(503, {"Retry-After": date})]
    channel = channel_to(receiver.url(), client)
    first, second = await channel.send(message()), await channel.send(message())
    assert isinstance(first, Retryable)
    assert isinstance(second, Retryable)
    assert (first.wait_s, second.wait_s) == (12.0, 59.75)


async def test_a_redirect_is_not_followed(receiver: HttpReceiver, client: HttpClient) -> None:
    receiver.script = [Answer(307, {"Location": receiver.url("/elsewhere")})]
    outcome = await channel_to(receiver.url(), client).send(message())
    assert isinstance(outcome, Permanent)
    assert "elsewhere" not in outcome.reason
    assert len(receiver.received) == 1


async def test_a_receiver_that_says_nothing_is_tried_again_after_the_deadline(
    receiver: HttpReceiver, client: HttpClient
) -> None:
    receiver.script = [Answer(stall=True)]
    began_s = trio.current_time()
    outcome = await channel_to(receiver.url(), client, timeout_s=0.2).send(message())
    assert trio.current_time() - began_s < 2
    assert isinstance(outcome, Retryable)
    assert "0.2 s" in outcome.reason


async def test_a_connection_that_breaks_is_tried_again(
    receiver: HttpReceiver, client: HttpClient
) -> None:
    receiver.script = [Answer(drop=True)]
    channel = channel_to(receiver.url(), client)
    assert isinstance(await channel.send(message()), Retryable)
    assert await channel.send(message()) == Delivered()


async def test_nobody_listening_is_tried_again_and_named(client: HttpClient) -> None:
    port = closed_port()
    outcome = await channel_to(f"http://127.0.0.1:{port}/{TOKEN}", client).send(message())
    reason = f"cannot connect to 127.0.0.1:{port}: Connection refused"
    assert outcome == Retryable(reason, was_refused=True)


async def test_what_speaks_no_tls_is_named_so(receiver: HttpReceiver, client: HttpClient) -> None:
    url = receiver.url().replace("http://", "https://")
    outcome = await channel_to(url, client).send(message())
    assert isinstance(outcome, Retryable)
    assert "what answers there speaks no TLS; check the port" in outcome.reason


async def test_a_name_that_does_not_exist_is_tried_again(client: HttpClient) -> None:
    outcome = await channel_to("http://nobody.invalid/", client).send(message())
    assert isinstance(outcome, Retryable)
    assert "nobody.invalid" in outcome.reason


async def test_a_name_that_cannot_exist_is_not_tried_again(client: HttpClient) -> None:
    outcome = await channel_to(f"http://{'a' * 70}.example/", client).send(message())
    assert isinstance(outcome, Permanent)


async def test_a_reply_is_read_up_to_its_cap_and_no_further(
    receiver: HttpReceiver, client: HttpClient
) -> None:
    receiver.otherwise = Answer(503, body=b"x" * 65_536, endless=True)
    channel = channel_to(receiver.url(), client)
    outcome = await channel.send(message())
    assert isinstance(outcome, Retryable)
    assert receiver.sent_bytes < 100 * MAX_REPLY_BYTES
    receiver.otherwise = Answer()
    assert await channel.send(message()) == Delivered()


async def test_a_compressed_reply_is_never_inflated(
    receiver: HttpReceiver, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = []
    read = HttpClient.post

    async def spy(*args: object) -> Reply | Retryable | Permanent:
        reply = await read(*args)  # type: ignore[arg-type]
        bodies.append(reply.body if isinstance(reply, Reply) else b"")
        return reply

    monkeypatch.setattr(HttpClient, "post", spy)
    bomb = gzip_bomb(50)
    receiver.script = [bomb]
    assert await channel_to(receiver.url(), client).send(message()) == Delivered()
    assert bodies == [bomb.body[:MAX_REPLY_BYTES]]


async def test_a_status_counts_though_its_body_never_ends(
    receiver: HttpReceiver, client: HttpClient
) -> None:
    receiver.script = [Answer(200, stall_after=True), Answer(410, stall_after=True)]
    channel = channel_to(receiver.url(), client, timeout_s=0.2)
    assert await channel.send(message()) == Delivered()
    assert isinstance(await channel.send(message()), Permanent)


async def test_a_status_counts_though_its_body_is_cut_off(
    receiver: HttpReceiver, client: HttpClient
) -> None:
    receiver.script = [Answer(200, cut=True), Answer(410, cut=True)]
    channel = channel_to(receiver.url(), client)
    assert await channel.send(message()) == Delivered()
    assert isinstance(await channel.send(message()), Permanent)


async def test_one_connection_serves_many_messages(
    receiver: HttpReceiver, client: HttpClient
) -> None:
    channel = channel_to(receiver.url(), client)
    for _ in range(5):
        assert await channel.send(message()) == Delivered()
    assert receiver.connections == 1


async def test_cookies_are_not_kept(receiver: HttpReceiver, client: HttpClient) -> None:
    receiver.script = [Answer(headers={"Set-Cookie": "id=1; Path=/"})]
    channel = channel_to(receiver.url(), client)
    await channel.send(message())
    await channel.send(message())
    assert "cookie" not in receiver.received[1].headers


async def test_a_proxy_of_the_environment_is_not_used(
    receiver: HttpReceiver, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    assert await channel_to(receiver.url(), client).send(message()) == Delivered()


async def test_a_key_with_a_line_break_is_not_sent(
    receiver: HttpReceiver, client: HttpClient
) -> None:
    channel = channel_to(receiver.url(), client)
    outcome = await channel.send(message(key="a\r\nX-Injected: 1"))
    assert isinstance(outcome, Permanent)
    assert receiver.received == []


async def test_no_address_or_secret_is_in_a_reason_a_repr_or_the_log(
    receiver: HttpReceiver, client: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Bad": f"{TOKEN}\r\n"}
    url = receiver.url(f"/{TOKEN}?key={TOKEN}").replace("//", f"//user:{TOKEN}@")
    receiver.otherwise = Answer(404, body=TOKEN.encode())
    dead = f"http://127.0.0.1:{closed_port()}/{TOKEN}"
    channels = [
        channel_to(url, client, secret=TOKEN),
        channel_to(url, client, secret=TOKEN, headers=headers),
        channel_to(dead, client, secret=TOKEN),
    ]
    for channel in channels:
        outcome = await channel.send(message())
        assert TOKEN not in repr(outcome)
        assert TOKEN not in repr(channel) + channel.redacted_endpoint
    assert receiver.received, "one of them has reached the receiver"
    assert TOKEN not in caplog.text


async def test_https_needs_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    authority = make_authority()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.ca_pem)
    trusting = HttpClient(allow_private=True, ca_file=str(ca_file))
    strict = HttpClient(allow_private=True)
    with http_receiver(tls=authority.server) as receiver:
        assert await channel_to(receiver.url(), trusting).send(message()) == Delivered()
        outcome = await channel_to(receiver.url(), strict).send(message())
        assert isinstance(outcome, Retryable)
        assert "certificate is not trusted" in outcome.reason
        await trusting.aclose()
        await strict.aclose()


async def test_https_needs_the_right_name(tmp_path: Path) -> None:
    authority = make_authority("other.example")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.ca_pem)
    client = HttpClient(allow_private=True, ca_file=str(ca_file))
    with http_receiver(tls=authority.server) as receiver:
        outcome = await channel_to(receiver.url(), client).send(message())
        assert isinstance(outcome, Retryable)
        assert "certificate is not trusted" in outcome.reason
        await client.aclose()


async def test_an_end_is_told_with_its_reason(receiver: HttpReceiver, client: HttpClient) -> None:
    told = message(resolved("no_data"), kind=MessageKind.RESOLVED)
    await channel_to(receiver.url(), client).send(told)
    body = json.loads(receiver.received[0].body)
    assert body["kind"] == "resolved"
    assert body["incidents"][0]["reason"] == "no_data"
    assert body["incidents"][0]["endedAt"] == "2025-06-30T15:07:00.000000Z"

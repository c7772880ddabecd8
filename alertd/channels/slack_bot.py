"""Slack by a bot's token: what follows a message stands below it, or replaces it.

Owns the calls of Slack's Web API, the reading of its replies, and where a message belongs. A
message that tells only of what one earlier message has told goes into that one's thread, or changes
it; everything else stands by itself. The earlier message is known by its *receipt*, Slack's channel
and timestamp of it, which dispatch keeps with the outcome. Leaves the payload to ``slack.py``.

https://docs.slack.dev/reference/methods/chat.postMessage and chat.update; rate limits:
https://docs.slack.dev/apis/web-api/rate-limits
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import httpx
import msgspec
from msgspec import Struct

from alertd.channels.backoff import parse_retry_after
from alertd.channels.http_channel import HttpChannel
from alertd.channels.http_client import HttpClient, Reply, judge
from alertd.channels.message import Message, MessageKind
from alertd.channels.protocol import Delivered, Outcome, Permanent, Retryable
from alertd.channels.secret import Secret
from alertd.channels.slack import payload
from alertd.channels.words import Words
from alertd.outbound import Earlier

FollowUp = Literal["thread", "update"]

_REFUSED: Final = frozenset({"ratelimited", "rate_limited", "service_unavailable"})
"""Slack has not done it and may do it later."""
_UNCERTAIN: Final = frozenset(
    {"fatal_error", "internal_error", "request_timeout", "team_added_to_org"}
)
"""Slack may have done it all the same."""
_GONE: Final = frozenset(
    {
        *("cant_update_message", "channel_not_found", "edit_window_closed", "is_archived"),
        *("message_not_found", "not_in_channel", "thread_not_found", "thread_locked"),
    }
)
"""The earlier message is not there, or is closed, or the bot has left the room that it is in since
another one was configured: what follows stands by itself then."""

_ERROR_CODE: Final = re.compile(r"[a-z]{2,30}(_[a-z]{1,30}){0,6}")
# As payload has it: open-ended JSON.
_Json = dict[str, Any]
_BEGINNING: Final = re.compile(
    rb'\{"ok":true(?:,"channel":"([A-Z0-9]{1,30})","ts":"([0-9.]{1,30})")?'
)
"""Of an answer that was cut off."""
_RECEIPT: Final = re.compile(r"([A-Z0-9]{1,30}) (\d{1,15}\.\d{1,10})")


class _Answer(Struct):
    """What is read of a reply."""

    ok: bool
    error: str = ""
    channel: str = ""
    ts: str = ""


class SlackBot(HttpChannel):
    """Posts to one ``room``, a channel of Slack by its id or ``#name``, with ``token``."""

    def __init__(
        self,
        api_url: str,
        client: HttpClient,
        token: Secret,
        room: str,
        *,
        owns_client: bool,
        timeout_s: float,
        follow_up: FollowUp,
        words: Words,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            api_url.rstrip("/"), client, owns_client=owns_client, timeout_s=timeout_s, now_s=now_s
        )
        self._token = token
        self._room = room
        self._style = follow_up
        self._words = words

    async def send(self, message: Message) -> Outcome:
        """Post ``message`` by itself."""
        return await self._tell(message, None)

    async def follow_up(self, message: Message, earlier: Earlier) -> Outcome:
        """Post ``message``, which tells of nothing that ``earlier`` has not told of, to it."""
        return await self._tell(message, earlier)

    async def _tell(self, message: Message, earlier: Earlier | None) -> Outcome:
        worded = self._words.of(message)
        content = payload(message, worded)
        for method, place in self._places(message, earlier):
            outcome = await self._call(method, {**content, **place})
            if outcome is not None:
                return worded.noted(outcome)
        raise AssertionError("the last place is no message that could be gone")

    def _places(self, message: Message, earlier: Earlier | None) -> Iterator[tuple[str, _Json]]:
        """Yield where ``message`` may go, as a method and its arguments, the best first."""
        receipt = _RECEIPT.fullmatch(earlier.receipt) if earlier is not None else None
        if earlier is not None and receipt is not None:
            room, ts = receipt.groups()
            is_repeat = message.kind is MessageKind.REPEAT
            if self._style == "update" and earlier.tells_the_same and not is_repeat:
                yield "chat.update", {"channel": room, "ts": ts}
            # A repeat is for all to see, or it reminds nobody.
            reply = {"channel": room, "thread_ts": ts, "reply_broadcast": is_repeat}
            yield "chat.postMessage", reply
        yield "chat.postMessage", {"channel": self._room}

    async def _call(self, method: str, arguments: _Json) -> Outcome | None:
        """Make one call; None if the message that it is about is not there any more."""
        headers = {
            "Authorization": f"Bearer {self._token.reveal()}",
            "Content-Type": "application/json; charset=utf-8",
        }
        url = httpx.URL(f"{self._url}/{method}")
        reply = await self._client.post(
            url, msgspec.json.encode(arguments), headers, self._timeout_s
        )
        if not isinstance(reply, Reply):
            return reply
        answer = _read(reply.body)
        if reply.status >= 300:
            return judge(reply, self._url.host, self._now_s(), _code(answer))
        if answer is None:
            return Retryable(f"{self._url.host} answered, but not as Slack does")
        if answer.ok:
            receipt = f"{answer.channel} {answer.ts}"
            return Delivered(receipt=receipt if _RECEIPT.fullmatch(receipt) else "")
        if answer.error in _GONE and ("ts" in arguments or "thread_ts" in arguments):
            return None
        reason = f"Slack refused it: {_code(answer) or 'without a reason'}"
        if answer.error in _REFUSED | _UNCERTAIN:
            wait_s = parse_retry_after(reply.retry_after, self._now_s())
            return Retryable(reason, wait_s, was_refused=answer.error in _REFUSED)
        return Permanent(reason)


def _read(body: bytes) -> _Answer | None:
    """Return what an answer says; None if it is not Slack's.

    It repeats the message at its end, so it may be too long to be kept whole.
    """
    try:
        return msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        begun = _BEGINNING.match(body)
        if begun is None:
            return None
        channel, ts = (part.decode() for part in begun.groups(b""))
        return _Answer(ok=True, channel=channel, ts=ts)


def _code(answer: _Answer | None) -> str:
    """Return Slack's code for what is wrong, if it is fit to be shown."""
    return answer.error if answer is not None and _ERROR_CODE.fullmatch(answer.error) else ""

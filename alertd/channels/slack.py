"""Slack's incoming webhooks.

Owns the payload (attachments with a colour by severity, blocks inside, a text for where blocks
are not shown), Slack's escaping and its limits. Leaves the connection and the meaning of a
status to ``http_client.py``; the words are ``wording.py``'s.

Formats: https://docs.slack.dev/reference/block-kit/blocks and
https://docs.slack.dev/messaging/formatting-message-text (escaping of ``&``, ``<``, ``>``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from alertd.channels import wording
from alertd.channels.http_channel import HttpChannel
from alertd.channels.http_client import HttpClient, Reply, judge
from alertd.channels.message import IncidentView, Message
from alertd.channels.protocol import Outcome
from alertd.channels.templates.filters import plain
from alertd.channels.words import Form, Worded, Words

MAX_TEXT_CHARS: Final = 3000
MAX_HEADER_CHARS: Final = 150
MAX_SECTION_CHARS: Final = 3000
MAX_FIELD_CHARS: Final = 2000
MAX_FIELDS: Final = 10
MAX_BLOCKS: Final = 50

# Slack answers a refusal with a code such as "invalid_blocks"; anything else is not shown.
_ERROR_CODE = re.compile(rb"[a-z]{2,30}(_[a-z]{1,30}){0,6}")

# Block Kit is open-ended JSON: a typed mirror of it would say no more than its documentation.
_Json = dict[str, Any]


MRKDWN: Final = Form(lambda value: _escape_all(plain(value)), MAX_SECTION_CHARS)
"""Templates are in Slack's markup; what stands in ``{{ }}`` is text."""


def payload(message: Message, worded: Worded = Worded()) -> _Json:  # noqa: B008  # immutable
    """Return the JSON body for ``message``, within Slack's limits however long its texts are."""
    if worded.body is not None:
        title = worded.title or _escape(wording.subject(message), MAX_HEADER_CHARS)
        section = {"type": "section", "text": _mrkdwn(worded.body.strip() or "-")}
        return {"text": title, "attachments": [{"color": _colour(message), "blocks": [section]}]}
    shown = wording.latest(message)[: wording.MAX_INCIDENTS_SHOWN]
    attachments = [_attachment(incident) for incident in shown]
    text = [worded.title or _escape(wording.subject(message), MAX_HEADER_CHARS)]
    if len(shown) == 1 and worded.title is None:
        text.append(_escape(shown[0].message, MAX_TEXT_CHARS - MAX_HEADER_CHARS - 1))
    if hidden := wording.hidden_text(message):
        attachments.append(
            {"color": wording.NEUTRAL_COLOUR, "blocks": [_context(_escape(hidden, 400))]}
        )
    return {"text": "\n".join(text), "attachments": attachments}


def _colour(message: Message) -> str:
    incidents = wording.latest(message)
    return wording.colour(incidents[0]) if incidents else wording.NEUTRAL_COLOUR


def _attachment(incident: IncidentView) -> _Json:
    blocks: list[_Json] = [
        {
            "type": "header",
            "text": {
                "type": "plain_text",
                "text": _escape(wording.headline(incident), MAX_HEADER_CHARS),
            },
        },
        {
            "type": "section",
            "text": _mrkdwn(_escape(_summary(incident), MAX_SECTION_CHARS)),
            "fields": [_field(label, text) for label, text in wording.facts(incident)[:MAX_FIELDS]],
        },
    ]
    links = [_link(label, url) for label, url in wording.links(incident)]
    if shown := [link for link in links if link is not None]:
        blocks.append(_context(" | ".join(shown)))
    return {
        "color": wording.colour(incident),
        "fallback": _escape(wording.headline(incident), MAX_HEADER_CHARS),
        "blocks": blocks,
    }


def _summary(incident: IncidentView) -> str:
    return "\n".join(filter(None, (incident.message, *wording.remarks(incident)))) or "-"


def _field(label: str, text: str) -> _Json:
    bold = f"*{_escape(label, 100)}*\n"
    return _mrkdwn(bold + _escape(text or "-", MAX_FIELD_CHARS - len(bold)))


def _context(text: str) -> _Json:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> _Json:
    # verbatim: names of channels and people in a label are text, not links.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _link(label: str, url: str) -> str | None:
    """Return ``<url|label>``; None for a URL so long that cutting it would break it."""
    escaped = _escape_all(url.replace("|", "%7C"))
    return f"<{escaped}|{label}>" if len(escaped) <= MAX_FIELD_CHARS // 2 else None


def _escape_all(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _escape(text: str, limit: int) -> str:
    """Return ``text`` escaped, and cut so that no entity is broken, in ``limit`` characters."""
    escaped = _escape_all(text)
    if len(escaped) <= limit:
        return escaped
    pieces: list[str] = []
    room = limit - 1
    for character in text:
        piece = _escape_all(character)
        if len(piece) > room:
            break
        pieces.append(piece)
        room -= len(piece)
    return "".join(pieces) + "…"


class SlackChannel(HttpChannel):
    """Posts to one incoming webhook."""

    def __init__(
        self,
        url: str,
        client: HttpClient,
        *,
        owns_client: bool,
        timeout_s: float,
        words: Words | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(url, client, owns_client=owns_client, timeout_s=timeout_s, now_s=now_s)
        self._words = words or Words(None, None)

    async def send(self, message: Message) -> Outcome:
        """Post ``message`` once."""
        worded = self._words.of(message)
        body = msgspec.json.encode(payload(message, worded))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": message.idempotency_key,
        }
        reply = await self._client.post(self._url, body, headers, self._timeout_s)
        if not isinstance(reply, Reply):
            return reply
        code = reply.body.strip()
        detail = code.decode() if _ERROR_CODE.fullmatch(code) else ""
        outcome = judge(reply, self._url.host, self._now_s(), detail)
        return worded.noted(outcome)

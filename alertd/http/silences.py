"""``/api/silences``: what nobody wants to be told of for a while.

Owns the form of a silence on the wire. Leaves its meaning to ``notify/silence.py``.
"""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus
from typing import Final

import msgspec
import trio
from msgspec import Struct
from quart import Response, request

from alertd.clock import Timestamp, format_us
from alertd.errors import InvalidInput, NotFound, Problem, pointer_token
from alertd.http import strict
from alertd.http.body import read_body
from alertd.http.query import Parameters
from alertd.http.responses import json_response
from alertd.http.routes import Handlers
from alertd.http.services import Services
from alertd.http.timestamp import instant_us
from alertd.literals import spelled
from alertd.notify.matchers import Reach, doubts
from alertd.notify.silence import Silence
from alertd.reports import Warned
from alertd.rules import parse_matchers
from alertd.store.silences import SilenceQuery

MAX_SILENCE_BYTES: Final = 64 * 1024


class SilenceMedia(StrEnum):
    """Content types of a silence."""

    JSON = "application/json"


class SilenceBody(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A silence as a client sends it."""

    matchers: dict[str, str]
    """As in a rule, on ``ruleName``, ``severity`` and the labels of the group."""
    ends_at: Timestamp
    """RFC 3339 with any offset."""
    starts_at: Timestamp | None = None
    """Default: now."""
    created_by: str = ""
    """Who adds it."""
    comment: str = ""
    """What for."""


class SilenceState(StrEnum):
    """Whether a silence holds."""

    PENDING = "pending"
    """Not yet."""
    ACTIVE = "active"
    EXPIRED = "expired"
    """No longer."""


class SilenceItem(Struct, frozen=True, kw_only=True, rename="camel"):
    """A silence as it is listed."""

    id: str
    """UUID."""
    state: SilenceState
    """Whether it holds."""
    matchers: dict[str, str]
    """What it holds back: notifications of incidents that match all of them."""
    starts_at: Timestamp
    """From when on."""
    ends_at: Timestamp
    """Until when."""
    created_at: Timestamp
    """When it was added."""
    created_by: str
    """Who added it."""
    comment: str
    """What for."""


class SilenceReply(SilenceItem, frozen=True, kw_only=True, rename="camel"):
    """A silence as it was just added."""

    warnings: tuple[Warned, ...]
    """Why it is most likely not what was meant: no rule's incidents can match it, or a value
    looks like a regular expression or an operator and is taken literally."""


class SilenceList(Struct, frozen=True, rename="camel"):
    """A page of silences, those that end last first."""

    items: tuple[SilenceItem, ...]
    """The silences."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


class SilenceRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._silences = services.silences
        self._notifier = services.notifier
        self._rules = services.rules

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {
            "listSilences": self.list,
            "createSilence": self.create,
            "getSilence": self.get,
            "expireSilence": self.delete,
        }

    async def list(self) -> Response:
        """List silences, over or not."""
        parameters = Parameters(request.args, "limit", "cursor")
        query = SilenceQuery(limit=parameters.limit(), cursor=parameters.text("cursor"))
        parameters.check()
        page = await self._silences.page(query)
        return json_response(SilenceList(tuple(map(self._item, page.items)), page.next_cursor))

    async def create(self) -> Response:
        """Add a silence; it holds at once if it has begun."""
        Parameters(request.args).check()
        body, _ = await read_body(SilenceMedia, max_bytes=MAX_SILENCE_BYTES)
        sent = strict.to_struct(strict.parse(strict.to_text(body), unique=True), SilenceBody)
        added = await self._notifier.silence(_silence(sent, self._notifier.now_us()))
        location = {"Location": f"/api/silences/{added.id}"}
        item = msgspec.structs.asdict(self._item(added))
        reply = SilenceReply(**item, warnings=await self._warnings(added))
        return json_response(reply, HTTPStatus.CREATED, location)

    async def get(self, silence_id: str) -> Response:
        """Show one silence."""
        Parameters(request.args).check()
        silence = await self._silences.get(silence_id)
        if silence is None:
            raise NotFound(f"there is no silence with the id {silence_id[:100]!r}")
        return json_response(self._item(silence))

    async def delete(self, silence_id: str) -> Response:
        """End a silence now. It stays listed, as expired."""
        Parameters(request.args).check()
        return json_response(self._item(await self._notifier.expire_silence(silence_id)))

    async def _warnings(self, silence: Silence) -> tuple[Warned, ...]:
        """Return which values are most likely not meant, else why nothing can match, if so.

        Of what can match nothing is said as long as there are no rules.
        """
        specs = [record.spec for record in self._rules.all()]
        found = doubts(silence.matchers)
        if found or not specs:
            return tuple(
                Warned(f"/matchers/{pointer_token(label)}", message) for label, message in found
            )
        problem = await trio.to_thread.run_sync(Reach(silence.matchers).problem, specs)
        if problem is None:
            return ()
        label, message = problem
        where = "" if label is None else f"/{pointer_token(label)}"
        return (Warned(f"/matchers{where}", message),)

    def _item(self, silence: Silence) -> SilenceItem:
        now_us = self._notifier.now_us()
        state = SilenceState.ACTIVE if silence.starts_us <= now_us else SilenceState.PENDING
        if silence.ends_us <= now_us:
            state = SilenceState.EXPIRED
        return SilenceItem(
            id=silence.id,
            state=state,
            matchers={matcher.label: spelled(matcher) for matcher in silence.matchers},
            starts_at=format_us(silence.starts_us),
            ends_at=format_us(silence.ends_us),
            created_at=format_us(silence.created_us),
            created_by=silence.created_by,
            comment=silence.comment,
        )


def _silence(sent: SilenceBody, now_us: int) -> Silence:
    """Return the silence that ``sent`` means. Raises ``InvalidInput`` for times that are none."""
    problems: list[Problem] = []
    times = {"startsAt": now_us, "endsAt": now_us}
    for name, text in (("startsAt", sent.starts_at), ("endsAt", sent.ends_at)):
        if text is not None:
            try:
                times[name] = instant_us(text)
            except ValueError as error:
                problems.append(Problem(f"/{name}", str(error)))
    if problems:
        raise InvalidInput(problems)
    return Silence(
        id="",
        matchers=parse_matchers(sent.matchers),
        starts_us=times["startsAt"],
        ends_us=times["endsAt"],
        created_us=now_us,
        created_by=sent.created_by,
        comment=sent.comment,
    )

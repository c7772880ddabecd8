"""``/api/alerts``: the rules, to be made, read, edited and deleted.

Owns paging, ETags and ``If-Match``. Every edit is made against the version that it was read
from, so that two people who edit at once never undo each other unseen.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from quart import Response, request

from alertd.errors import Conflict, VersionMismatch
from alertd.http import rule_input
from alertd.http.body import read_body
from alertd.http.query import Parameters
from alertd.http.responses import json_response
from alertd.http.routes import Handlers
from alertd.http.rule_replies import RuleItem, RuleList, rule_item, rule_reply
from alertd.http.services import Services
from alertd.rules import RuleRecord, RuleSpec
from alertd.store import cursor

MAX_RULE_BYTES: Final = 256 * 1024
_MAX_EDIT_ATTEMPTS: Final = 5
_ENTITY_TAG = re.compile(r'(?:W/)?"?(\d{1,18})"?', re.ASCII)


class RuleMedia(StrEnum):
    """Content types of a whole rule."""

    JSON = "application/json"


class PatchMedia(StrEnum):
    """Content types of a part of a rule; both mean RFC 7396."""

    JSON = "application/json"
    MERGE_PATCH = "application/merge-patch+json"


class RuleRoutes:
    """The handlers, with what they need."""

    def __init__(self, services: Services) -> None:
        self._rules = services.rules

    def handlers(self) -> Handlers:
        """Return what answers each operation."""
        return {
            "createRule": self.create,
            "listRules": self.list,
            "getRule": self.get,
            "replaceRule": self.put,
            "editRule": self.patch,
            "deleteRule": self.delete,
        }

    async def create(self) -> Response:
        """Make a rule: 201 with its address."""
        Parameters(request.args).check()
        body, _ = await read_body(RuleMedia, max_bytes=MAX_RULE_BYTES)
        record = await self._rules.create(rule_input.new_spec(body))
        return self._reply(record, HTTPStatus.CREATED, {"Location": f"/api/alerts/{record.id}"})

    async def list(self) -> Response:
        """List the rules by name."""
        parameters = Parameters(request.args, "limit", "cursor")
        limit, after = parameters.limit(), _place(parameters.text("cursor"))
        parameters.check()
        records = self._rules.all()
        start = 0
        if after is not None:
            start = bisect.bisect_right(records, after, key=lambda record: record.spec.name)
        page = records[start : start + limit]
        is_last = start + limit >= len(records)
        items = tuple(map(self._item, page))
        next_cursor = None if is_last else cursor.encode(page[-1].spec.name)
        return json_response(RuleList(items, next_cursor))

    async def get(self, rule_id: str) -> Response:
        """Show a rule."""
        Parameters(request.args).check()
        return self._reply(self._rules.get(rule_id))

    async def put(self, rule_id: str) -> Response:
        """Replace a rule; what is left out goes back to its default."""
        Parameters(request.args).check()
        body, _ = await read_body(RuleMedia, max_bytes=MAX_RULE_BYTES)
        return await self._edit(rule_id, lambda record: rule_input.replaced_spec(body, record))

    async def patch(self, rule_id: str) -> Response:
        """Change parts of a rule; null goes back to the default."""
        Parameters(request.args).check()
        body, _ = await read_body(PatchMedia, max_bytes=MAX_RULE_BYTES)
        return await self._edit(rule_id, lambda record: rule_input.merged_spec(body, record))

    async def delete(self, rule_id: str) -> Response:
        """Delete a rule."""
        Parameters(request.args).check()
        record = self._rules.get(rule_id)
        await self._rules.delete(rule_id, if_version=_wanted_version(record))
        return Response(b"", HTTPStatus.NO_CONTENT.value)

    async def _edit(self, rule_id: str, edit: Callable[[RuleRecord], RuleSpec]) -> Response:
        """Apply ``edit``, again if someone else's came in between and no version was asked for."""
        for _ in range(_MAX_EDIT_ATTEMPTS):
            record = self._rules.get(rule_id)
            wanted = _wanted_version(record)
            try:
                edited = await self._rules.replace(rule_id, edit(record), if_version=record.version)
            except VersionMismatch:
                if wanted is not None:
                    raise
            else:
                return self._reply(edited)
        raise Conflict("the rule is being edited by others all the time; try again")

    def _reply(
        self,
        record: RuleRecord,
        status: HTTPStatus = HTTPStatus.OK,
        headers: dict[str, str] | None = None,
    ) -> Response:
        tag = {"ETag": f'"{record.version}"'}
        reply = rule_reply(self._item(record), self._rules.warnings(record.spec))
        return json_response(reply, status, tag | (headers or {}))

    def _item(self, record: RuleRecord) -> RuleItem:
        return rule_item(record, self._rules.state(record.id))


def _wanted_version(record: RuleRecord) -> int | None:
    """Return the version that ``If-Match`` insists on, None if on none.

    Raises ``VersionMismatch`` if it is not the version of ``record``.
    """
    header = request.headers.get("If-Match", "*").strip()
    if header == "*":
        return None
    for tag in header.split(","):
        match = _ENTITY_TAG.fullmatch(tag.strip())
        if match is not None and int(match[1]) == record.version:
            return record.version
    raise VersionMismatch(
        f'the rule has the version "{record.version}", which If-Match does not name; read the '
        "rule again and repeat your change"
    )


def _place(text: str | None) -> str | None:
    """Return the name behind which a page begins. Raises ``InvalidParameters``."""
    return None if text is None else cursor.decode(text, 1)[0]

"""What schemathesis does not know of itself: bodies in msgpack, and what no JSON Schema can say.

A request that is right by the document has fields that are right one by one. Here those are made to
fit each other and the daemon: a silence ends after it begins, a window has whole buckets, a
cursor comes from a page before, a channel is one that there is, an event is of now. Then such a
request must be taken.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import schemathesis
from schemathesis.generation import GenerationMode

_GREATEST: Final = 2**64
_NUMBERS: Final = itertools.count()
_LAST_DAY: Final = "9999-12-31T00:00:00Z"

Json = Any  # decoded JSON


@schemathesis.serializer("application/msgpack")
def as_msgpack(context: schemathesis.SerializationContext, value: object) -> bytes:
    """Return a generated body as it is sent; msgpack has no integers beyond 64 bits."""
    return msgspec.msgpack.encode(json.loads(json.dumps(value), parse_int=_number))


def _number(literal: str) -> int | float:
    number = int(literal)
    return number if -_GREATEST // 2 <= number < _GREATEST else float(number)


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """Make the parts of a request that is right fit each other."""
    meta = case.meta
    if meta is None or meta.generation.mode is not GenerationMode.POSITIVE:
        return
    for name in ("If-Match", "Idempotency-Key"):  # which are about another request
        case.headers.pop(name, None)
    if isinstance(case.query, dict):
        case.query.pop("cursor", None)
        case.query.pop("channel", None)
        if "from" in case.query:
            case.query.pop("to", None)
    fit = _FITTING.get(case.operation.label)
    if fit is not None and isinstance(case.body, (dict, list)):
        fit(case.body)


def _fit_events(body: Json) -> None:
    if isinstance(body, dict) and "series" in body:
        _fit_columns(body)
        return
    for event in body if isinstance(body, list) else [body]:
        event.pop("timestamp", None)
        _fit_number(event, "value")


def _fit_columns(columns: Json) -> None:
    """Make columns that name one series, have one length, and are of one moment."""
    columns["series"] = columns["series"][:1] or [["m", {}]]
    columns["seriesIndex"] = [0]
    columns["timestamp"] = [time.time_ns() // 1000]
    columns["value"] = [1.5]
    columns.pop("id", None)


def _fit_silence(body: Json) -> None:
    body["endsAt"] = _LAST_DAY
    body.pop("startsAt", None)


def _fit_rule(body: Json) -> None:
    """Leave out what has a meaning beside certain other fields only, and take a new name."""
    if body.get("name") is not None:
        body["name"] = f"{body['name'][:150]} {next(_NUMBERS)}"
    for name in (
        *("bucketIntervalSecs", "evaluate", "resolveThreshold", "groupTtlSecs", "aggregate"),
        *("notifications", "escalateAfterSecs", "escalateTo", "allowedLatenessSecs"),
    ):
        body.pop(name, None)
    if body.get("runbookUrl") is not None:
        body["runbookUrl"] = "https://example.org/é"
    if body.get("windowDurationSecs") is not None:
        body["windowDurationSecs"] = min(body["windowDurationSecs"], 86_400)
    _fit_number(body, "threshold")


def _fit_number(body: Json, name: str) -> None:
    """Write a whole number beyond 64 bits as the float that it is."""
    if isinstance(body.get(name), int) and abs(body[name]) >= 2**63:
        body[name] = float(body[name])


_FITTING: Final[dict[str, Callable[[Json], None]]] = {
    "POST /api/events": _fit_events,
    "POST /api/silences": _fit_silence,
    "POST /api/alerts": _fit_rule,
    "PUT /api/alerts/{rule_id}": _fit_rule,
    "PATCH /api/alerts/{rule_id}": _fit_rule,
}

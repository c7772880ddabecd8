"""Operations on events."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from alertd.http.acceptance import KEY_HEADER
from alertd.http.decode import MediaType
from alertd.http.event_input import Event
from alertd.http.event_replies import EventReceipt, QuarantineList, QuarantineReply
from alertd.http.msgpack_columns import Columns
from alertd.http.openapi.operation import (
    OF_PARAMETERS,
    PAGE,
    Body,
    Content,
    Operation,
    Parameter,
    Place,
    Reply,
    choice,
    instant,
    reply,
    text,
)
from alertd.http.query import MAX_RESOLUTION_S, MINUTE_S
from alertd.http.stored_items import (
    BucketItem,
    BucketList,
    EventItem,
    EventList,
    SeriesItem,
    SeriesList,
)
from alertd.http.wire import ErrorItem
from alertd.ingest.idempotency import MAX_KEY_CHARS
from alertd.model import RefusalReason

_TAG: Final = "events"

_EVENT: Final = {
    "metricName": "error_count",
    "value": 1,
    "labels": {"service": "payment"},
    "id": "payment-1751295600-17",
}
_COLUMNS: Final = {
    "series": [["cpu_usage", {"host": "web-1"}], ["cpu_usage", {"host": "web-2"}]],
    "seriesIndex": [0, 1, 0],
    "timestamp": [1751295600000000, 1751295600000000, 1751295601000000],
    "value": [41.5, 7.25, 42.0],
}

_METRIC: Final = text("metricName", "Only events of this metric.", "error_count")
_LABELS: Final = Parameter(
    "labels",
    {
        "type": "object",
        "patternProperties": {r"^labels\..+": {"type": "string"}},
        "additionalProperties": False,
    },
    "Any number of `labels.NAME=VALUE`, each label once: only series with that value of it; "
    "all must hold. An empty value means a series without that label.",
    {"labels.service": "payment"},
    is_family=True,
)

OPERATIONS: Final = (
    Operation(
        name="pushEvents",
        tag=_TAG,
        summary="Push events",
        note="The answer comes when what was accepted is on disk (committed and fsynced, unless "
        '`store.durability = "relaxed"`). A bad event does not stop its neighbours: it is reported '
        "in `errors` and kept in the quarantine. Bodies may be compressed "
        "(`Content-Encoding: gzip` or `zstd`).",
        parameters=(
            Parameter(
                "atomic",
                {"type": "boolean", "default": False},
                "Take all events or none: with one that is bad the answer is 422.",
            ),
            Parameter(
                KEY_HEADER,
                {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": MAX_KEY_CHARS,
                    "pattern": "^[ -~]+$",
                },
                "A repeated request with the same key and body is answered as the first was and "
                "stores nothing; keys are remembered for `engine.dedup_horizon_secs`.",
                "payment-batch-4711",
                Place.HEADER,
            ),
        ),
        body=Body(
            (
                Content((list[Event], Event), {"An event": _EVENT, "Several events": [_EVENT]}),
                Content((), {}, MediaType.NDJSON.value),
                Content(
                    (list[Event], Event, Columns), {"Columns": _COLUMNS}, MediaType.MSGPACK.value
                ),
            )
        ),
        replies=(
            reply(
                EventReceipt,
                EventReceipt(
                    accepted=998,
                    duplicates=0,
                    rejected=2,
                    errors=(ErrorItem("/17/value", "must be a number, not a string"),),
                    errors_truncated=False,
                ),
                "What was accepted is durable.",
                status=HTTPStatus.ACCEPTED,
            ),
        ),
        refusals={
            HTTPStatus.UNPROCESSABLE_ENTITY: "No event could be taken, or not all with `atomic`; "
            "or the key was used with another body.",
            HTTPStatus.TOO_MANY_REQUESTS: "",
        },
    ),
    Operation(
        name="listEvents",
        tag=_TAG,
        summary="List stored events by time",
        note="In the order of their timestamps, those of one time in the order of arrival. With "
        "`resolution` events are summed up: each item is one series and one stretch of time.",
        parameters=(
            _METRIC,
            _LABELS,
            instant("from", "Only events of this time and later."),
            instant("to", "Only events before this time."),
            Parameter(
                "resolution",
                {
                    "type": "integer",
                    "minimum": MINUTE_S,
                    "maximum": MAX_RESOLUTION_S,
                    "multipleOf": MINUTE_S,
                },
                "Seconds that a bucket is to have.",
                MINUTE_S,
            ),
            *PAGE,
        ),
        replies=(
            Reply(
                HTTPStatus.OK,
                "A page of events, or of buckets.",
                (
                    Content(
                        (EventList, BucketList),
                        {
                            "Events": EventList(
                                (
                                    EventItem(
                                        metric_name="error_count",
                                        timestamp="2025-06-30T15:00:00.000000Z",
                                        value=1.0,
                                        labels={"service": "payment"},
                                        id="payment-1751295600-17",
                                        received_at="2025-06-30T15:00:00.031250Z",
                                    ),
                                ),
                                None,
                            ),
                            "Buckets": BucketList(
                                (
                                    BucketItem(
                                        metric_name="error_count",
                                        timestamp="2025-06-30T15:00:00.000000Z",
                                        labels={"service": "payment"},
                                        count=101,
                                        sum=101.0,
                                        min=1.0,
                                        max=1.0,
                                    ),
                                ),
                                None,
                            ),
                        },
                    ),
                ),
            ),
        ),
        refusals=OF_PARAMETERS,
    ),
    Operation(
        name="listSeries",
        tag=_TAG,
        summary="List series",
        note="`count` is exact: events accepted and not a duplicate.",
        parameters=(_METRIC, _LABELS, *PAGE),
        replies=(
            reply(
                SeriesList,
                SeriesList(
                    (
                        SeriesItem(
                            metric_name="error_count",
                            labels={"service": "payment"},
                            first_seen="2025-06-30T14:00:00.000000Z",
                            last_seen="2025-06-30T15:00:00.000000Z",
                            count=3601,
                        ),
                    ),
                    None,
                ),
                "A page of series, in the order in which they were first seen.",
            ),
        ),
        refusals=OF_PARAMETERS,
    ),
    Operation(
        name="listQuarantine",
        tag=_TAG,
        summary="List events that were refused",
        note="The newest first. The newest 10,000 are kept, at most 1,000 a second, for "
        "`store.quarantine_retention_days`.",
        parameters=(choice("reason", RefusalReason, "Only those refused for this."), *PAGE),
        replies=(
            reply(
                QuarantineList,
                QuarantineList(
                    (
                        QuarantineReply(
                            id=17,
                            received_at="2025-06-30T15:00:00.031250Z",
                            reason=RefusalReason.MALFORMED,
                            path="/17/value",
                            message="must be a number, not a string",
                            event='{"metricName": "error_count", "value": "many"}',
                        ),
                    ),
                    "MTc",
                ),
                "A page of refused events.",
            ),
        ),
        refusals=OF_PARAMETERS,
    ),
)

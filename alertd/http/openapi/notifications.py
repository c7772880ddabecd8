"""Operations on what is sent, and on what is not to be."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from alertd.http.delivery_replies import DeliveryList, DeliveryReply, RequeueReply
from alertd.http.openapi.operation import (
    OF_PARAMETERS,
    PAGE,
    Body,
    Content,
    Links,
    Operation,
    choice,
    path_parameter,
    reply,
    text,
)
from alertd.http.silences import (
    SilenceBody,
    SilenceItem,
    SilenceList,
    SilenceMedia,
    SilenceReply,
    SilenceState,
)
from alertd.outbound import DeliveryStatus
from alertd.reports import Warned

_TAG: Final = "notifications"

_MESSAGE: Final = DeliveryReply(
    id="6f9d3c80-8d5b-5d53-9d3f-4f7f0a4b9c01",
    channel="ops",
    endpoint=None,
    group_key='{"ruleName":"Payment errors"}',
    kinds=("firing",),
    status=DeliveryStatus.FAILED,
    attempts=37,
    last_error="HTTP 503",
    created_at="2025-06-30T15:00:00.040000Z",
    next_attempt_at=None,
    delivered_at=None,
    failed_at="2025-07-01T15:00:00.040000Z",
    incident_count=1,
    incidents=("4a1c7a3e-52a7-5f6f-8f9d-2b1d3c0d6e02",),
)
_LISTED: Final = SilenceItem(
    id="1f0e6c2a-77f1-4f67-9a55-5b0c5a9e7d03",
    state=SilenceState.ACTIVE,
    matchers={"service": "payment", "host": "=~web-.*"},
    starts_at="2025-06-30T15:00:00.000000Z",
    ends_at="2025-06-30T17:00:00.000000Z",
    created_at="2025-06-30T14:59:58.500000Z",
    created_by="ann",
    comment="deploy",
)
_SILENCE: Final = SilenceReply(
    **msgspec.structs.asdict(_LISTED),
    warnings=(
        Warned(
            "/matchers/service",
            "matches nothing: no rule groups by 'service', so no incident has that label",
        ),
    ),
)
_NEW: Final = {
    "Two hours from now on": {
        "matchers": {"service": "payment", "host": "=~web-.*"},
        "endsAt": "2030-06-30T17:00:00Z",
        "createdBy": "ann",
        "comment": "deploy",
    }
}

OPERATIONS: Final = (
    Operation(
        name="listNotifications",
        tag=_TAG,
        summary="List messages, the newest first",
        note="A message tells one channel of one incident, or of several that share it.",
        parameters=(
            choice("status", DeliveryStatus, "Only messages that are in this state."),
            text(
                "channel",
                "Only messages of this channel, one that is configured or of a message.",
                "ops",
            ),
            text(
                "incidentId",
                "Only messages that tell of this incident; `incidents` says of which others too.",
                _MESSAGE.incidents[0],
            ),
            *PAGE,
        ),
        replies=(
            reply(
                DeliveryList,
                DeliveryList((_MESSAGE,), None),
                "A page of messages. Where `status` or `channel` leave out nearly all it may "
                "have fewer than `limit`, or none: `nextCursor` says whether there are more.",
                links=Links("/items/0/id", "message_id", ("requeueNotification",)),
            ),
        ),
        refusals=OF_PARAMETERS,
    ),
    Operation(
        name="requeueNotification",
        tag=_TAG,
        summary="Send a message again that was given up, or now one that waits",
        note="Under the same `Idempotency-Key`. One that was given up has all the attempts of a "
        "new one. One that waits is tried now, though its receiver may have asked for time, and so "
        "is what has to be told before it; the attempt counts.",
        parameters=(path_parameter("message_id", "The message's id."),),
        replies=(
            reply(
                RequeueReply,
                RequeueReply(_MESSAGE.id, DeliveryStatus.RETRY_PENDING),
                "It will be sent.",
                status=HTTPStatus.ACCEPTED,
            ),
        ),
        refusals={
            **OF_PARAMETERS,
            HTTPStatus.NOT_FOUND: "",
            HTTPStatus.CONFLICT: "The message was delivered.",
        },
    ),
    Operation(
        name="listSilences",
        tag=_TAG,
        summary="List silences, over or not",
        note="Those that end last come first; one that is over is listed for 90 days.",
        parameters=PAGE,
        replies=(reply(SilenceList, SilenceList((_LISTED,), None), "A page of silences."),),
        refusals=OF_PARAMETERS,
    ),
    Operation(
        name="createSilence",
        tag=_TAG,
        summary="Add a silence",
        note="It holds at once if it has begun. Incidents are recorded all the same; what still "
        "fires when it is over is told then.",
        body=Body((Content((SilenceBody,), _NEW, SilenceMedia.JSON.value),)),
        replies=(
            reply(
                SilenceReply,
                _SILENCE,
                "The silence.",
                status=HTTPStatus.CREATED,
                headers={"Location": "Where the silence is."},
                links=Links("/id", "silence_id", ("getSilence", "expireSilence")),
            ),
        ),
        refusals={
            HTTPStatus.CONFLICT: "There are too many silences.",
        },
    ),
    Operation(
        name="getSilence",
        tag=_TAG,
        summary="Show a silence",
        parameters=(path_parameter("silence_id", "The silence's id."),),
        replies=(reply(SilenceItem, _LISTED, "The silence."),),
        refusals={**OF_PARAMETERS, HTTPStatus.NOT_FOUND: ""},
    ),
    Operation(
        name="expireSilence",
        tag=_TAG,
        summary="End a silence now",
        note="It stays listed, as expired. What still fires is told.",
        parameters=(path_parameter("silence_id", "The silence's id."),),
        replies=(
            reply(
                SilenceItem,
                msgspec.structs.replace(
                    _LISTED,
                    state=SilenceState.EXPIRED,
                    ends_at="2025-06-30T16:10:00.000000Z",
                ),
                "The silence, expired.",
            ),
        ),
        refusals={**OF_PARAMETERS, HTTPStatus.NOT_FOUND: ""},
    ),
)

"""Operations on rules, and what an edit of one may hold."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import FieldInfo

from alertd.http.openapi import constraints
from alertd.http.openapi.operation import (
    PAGE,
    Body,
    Content,
    Links,
    Operation,
    Parameter,
    Place,
    Reply,
    path_parameter,
    reply,
)
from alertd.http.openapi.schemas import field_notes
from alertd.http.rule_input import READ_ONLY
from alertd.http.rule_replies import GroupCounts, RuleItem, RuleList, RuleReply
from alertd.http.rules import PatchMedia, RuleMedia
from alertd.model import Operator, RuleType, Severity, Target
from alertd.rules import RuleSpec, Source

_TAG: Final = "rules"

_LISTED: Final = RuleItem(
    id="0b9ef5a0-5f8e-4c0e-9c53-3c1f5a7c2f11",
    version=1,
    source=Source.API,
    created_at="2025-06-30T14:59:00.000000Z",
    updated_at="2025-06-30T14:59:00.000000Z",
    state=GroupCounts(ok=3, pending=0, firing=1, no_data=0),
    name="Payment errors",
    type=RuleType.SIMPLE_COUNT,
    metric_name="error_count",
    threshold=100,
    window_duration_secs=300,
    operator=Operator.GT,
    matchers={"service": "payment", "host": "=~web-.*"},
    group_by=("service",),
    severity=Severity.CRITICAL,
    notifications=(Target("ops"), Target("SLACK", "https://hooks.slack.com/…")),
    escalate_after_secs=900,
    escalate_to=(Target("ops-email"),),
)
RULE: Final = RuleReply(**msgspec.structs.asdict(_LISTED), warnings=())
_NEW: Final = {
    "A count": {
        "name": "Payment errors",
        "type": "SIMPLE_COUNT",
        "metricName": "error_count",
        "threshold": 100,
        "windowDurationSecs": 300,
        "matchers": {"service": "payment"},
        "groupBy": ["service"],
        "severity": "critical",
    },
    "A percentile over any ten seconds": {
        "name": "Slow checkout",
        "type": "MOVING_WINDOW",
        "metricName": "latency_ms",
        "aggregate": "p95",
        "threshold": 200,
        "windowDurationSecs": 10,
        "forSecs": 30,
    },
    "An average over five minutes of the clock": {
        "name": "CPU",
        "type": "BUCKETED_WINDOW",
        "metricName": "cpu_usage",
        "aggregate": "avg",
        "threshold": 70,
        "windowDurationSecs": 300,
        "groupBy": ["host"],
    },
}


# Any: a type may be a class, a generic alias or a union; typing has no name for that.
def _optional(field: FieldInfo) -> tuple[str, Any, object]:
    """Return a field of a rule as a part that may be left out."""
    note = Meta(
        description=field_notes(RuleSpec).get(field.name),
        extra_json_schema=dict(constraints.RULE.get(field.encode_name, {})),
    )
    null_for_default = UnsetType if field.required else UnsetType | None
    return field.name, Annotated[field.type | null_for_default, note], UNSET


_IGNORED: Final = tuple((name, Any, UNSET) for name in sorted(READ_ONLY))

RuleEdit: Final = msgspec.defstruct(
    "RuleEdit",
    _IGNORED,
    bases=(RuleSpec,),
    namespace={"__doc__": "A rule as it replaces another; what only replies have is ignored."},
    rename="camel",
    kw_only=True,
)
RulePatch: Final = msgspec.defstruct(
    "RulePatch",
    [*map(_optional, msgspec.structs.fields(RuleSpec)), *_IGNORED],
    namespace={"__doc__": "Parts of a rule, null for its default; as above."},
    rename="camel",
    forbid_unknown_fields=True,
)

_ID: Final = path_parameter("rule_id", "The rule's id.")
_IF_MATCH: Final = Parameter(
    "If-Match",
    {"type": "string", "pattern": r'^(\*|"\d{1,18}")$'},
    "The `ETag` of the rule as it was read: the change is made only if nobody else has changed the "
    "rule since, and is refused with 412 otherwise.",
    '"1"',
    Place.HEADER,
)
_ETAG: Final = {"ETag": "The rule's version, for `If-Match`."}
_WRITTEN: Final = {
    HTTPStatus.TOO_MANY_REQUESTS: "",
}
_EDITED: Final = {
    HTTPStatus.BAD_REQUEST: "",
    HTTPStatus.NOT_FOUND: "",
    HTTPStatus.CONFLICT: "The rule stands in a file: `detail` says in which and at which line.",
    HTTPStatus.PRECONDITION_FAILED: "",
    **_WRITTEN,
}

OPERATIONS: Final = (
    Operation(
        name="listRules",
        tag=_TAG,
        summary="List rules by name",
        parameters=PAGE,
        replies=(reply(RuleList, RuleList((_LISTED,), None), "A page of rules."),),
        refusals={HTTPStatus.BAD_REQUEST: ""},
    ),
    Operation(
        name="createRule",
        tag=_TAG,
        summary="Make a rule",
        note="It is judged from now on, and over what is stored of its last window: a condition "
        "that holds already fires at once.",
        body=Body((Content((RuleSpec,), _NEW, RuleMedia.JSON.value),)),
        replies=(
            reply(
                RuleReply,
                RULE,
                "The rule, as it is kept.",
                status=HTTPStatus.CREATED,
                headers={"Location": "Where the rule is.", **_ETAG},
                links=Links(
                    "/id",
                    "rule_id",
                    ("getRule", "replaceRule", "editRule", "deleteRule", "listHistoryOfRule"),
                ),
            ),
        ),
        refusals={HTTPStatus.CONFLICT: "There are too many rules.", **_WRITTEN},
    ),
    Operation(
        name="getRule",
        tag=_TAG,
        summary="Show a rule",
        parameters=(_ID,),
        replies=(reply(RuleReply, RULE, "The rule.", headers=_ETAG),),
        refusals={HTTPStatus.BAD_REQUEST: "", HTTPStatus.NOT_FOUND: ""},
    ),
    Operation(
        name="replaceRule",
        tag=_TAG,
        summary="Replace a rule",
        note="What is left out goes back to its default. What only replies have (`id`, `version`, "
        "`state` and so on) is ignored, so that a reply can be edited and sent back; an endpoint "
        "that was shown shortened stands for the one that the rule has.",
        parameters=(_ID, _IF_MATCH),
        body=Body((Content((RuleEdit,), _NEW, RuleMedia.JSON.value),)),
        replies=(reply(RuleReply, RULE, "The rule as it is now.", headers=_ETAG),),
        refusals=_EDITED,
    ),
    Operation(
        name="editRule",
        tag=_TAG,
        summary="Change parts of a rule",
        note="A JSON merge patch (RFC 7396): null goes back to the default.",
        parameters=(_ID, _IF_MATCH),
        body=Body(
            tuple(
                Content(
                    (RulePatch,),
                    {"Another threshold": {"threshold": 200}, "A pause": {"isActive": False}},
                    media_type.value,
                )
                for media_type in PatchMedia
            )
        ),
        replies=(reply(RuleReply, RULE, "The rule as it is now.", headers=_ETAG),),
        refusals=_EDITED,
    ),
    Operation(
        name="deleteRule",
        tag=_TAG,
        summary="Delete a rule",
        note="What is on ends as `rule_deleted`; its history stays.",
        parameters=(_ID, _IF_MATCH),
        replies=(Reply(HTTPStatus.NO_CONTENT, "The rule is gone."),),
        refusals=_EDITED,
    ),
)

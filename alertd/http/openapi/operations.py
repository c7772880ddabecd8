"""Operations on the daemon itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from alertd import __version__
from alertd.http.openapi.operation import JSON, Content, Operation, Reply, reply
from alertd.http.wire import HealthReply
from alertd.metrics import CONTENT_TYPE
from alertd.reports import (
    Changes,
    ConfigurationStatus,
    FailingChannel,
    QueueStatus,
    RecoveryStatus,
    ReloadReport,
    StatusReport,
    StoreStatus,
    Warned,
)
from alertd.upkeep.limit_watch import ObservedGap

_TAG: Final = "operations"

HTML: Final = "text/html; charset=utf-8"

_WARNED: Final = Warned(
    "/etc/alertd/alertd.toml:12",
    "route[0].matchers.team: matches nothing: no rule groups by 'team', so no incident has that "
    "label",
)
STATUS: Final = StatusReport(
    version=__version__,
    ready=True,
    reason=None,
    started_at="2025-06-30T12:00:00.000000Z",
    uptime_secs=10800.0,
    now="2025-06-30T15:00:00.000000Z",
    lag_secs=0.0,
    watermark="2025-06-30T15:00:00.000000Z",
    applied_position=123456,
    rules=12,
    series=3400,
    groups=5600,
    dropped_groups=7,
    cold_rules=[],
    overdue_events=0,
    overdue_groups=0,
    configuration=ConfigurationStatus("2025-06-30T12:00:00.000000Z", (_WARNED,), 1),
    rule_errors=[],
    refusals=[],
    observed_gaps=[
        ObservedGap(
            rule_id="0b9ef5a0-5f8e-4c0e-9c53-3c1f5a7c2f11",
            rule_name="Payment errors",
            count=3,
            greatest_secs=31.5,
            allowed_lateness_secs=10.0,
            latest_at="2025-06-30T14:58:00.000000Z",
        )
    ],
    flapping=[],
    queues=QueueStatus(events=0, transactions=0, notifications=1),
    failed_notifications=2,
    failing_channels=[
        FailingChannel(
            channel="ops",
            endpoint=None,
            since="2025-06-30T14:50:00.000000Z",
            waiting=3,
            last_error="HTTP 503",
        )
    ],
    store=StoreStatus(
        path="/var/lib/alertd/alertd.db",
        size_bytes=52428800,
        free_bytes=4194304,
        wal_bytes=1048576,
        unfolded_events=250000,
        oldest_event="2025-05-31T15:00:00.000000Z",
    ),
    snapshot_position=123400,
    snapshot_at="2025-06-30T14:59:45.000000Z",
    recovery=RecoveryStatus(
        snapshot_position=120000, rejected_snapshots=(), replayed_entries=12, replayed_events=9000
    ),
)

OPERATIONS: Final = (
    Operation(
        name="getHealth",
        tag=_TAG,
        summary="Ask whether the process answers",
        replies=(reply(HealthReply, HealthReply("ok"), "It does."),),
    ),
    Operation(
        name="getReadiness",
        tag=_TAG,
        summary="Ask whether events can be taken and made durable",
        replies=(reply(HealthReply, HealthReply("ready"), "They can."),),
        refusals={HTTPStatus.SERVICE_UNAVAILABLE: "They cannot; `detail` says why."},
    ),
    Operation(
        name="getStatus",
        tag=_TAG,
        summary="Show how the daemon is doing",
        replies=(reply(StatusReport, STATUS, "For people."),),
    ),
    Operation(
        name="getMetrics",
        tag=_TAG,
        summary="Show every metric",
        replies=(
            Reply(HTTPStatus.OK, "Prometheus' text format.", (Content((), {}, CONTENT_TYPE),)),
        ),
    ),
    Operation(
        name="reload",
        tag=_TAG,
        summary="Read the configuration again",
        note="Rules, channels, routes, mutes, inhibitions, [notify] and tokens are applied; other "
        "sections wait for the next start. A body is not looked at.",
        replies=(
            reply(
                ReloadReport,
                ReloadReport(
                    rules=Changes(("CPU",), (), ()),
                    channels=Changes((), ("ops",), ()),
                    tokens=Changes((), (), ("web-1",)),
                    policies=("route",),
                    at_next_start=("store",),
                    warnings=(_WARNED,),
                    warning_count=1,
                ),
                "What changed.",
            ),
        ),
        refusals={
            HTTPStatus.BAD_REQUEST: "",
            HTTPStatus.CONFLICT: "Files take names of rules that were made over HTTP; nothing is "
            "changed. `path` is the file and line of each.",
            HTTPStatus.UNPROCESSABLE_ENTITY: "The configuration has mistakes; nothing is changed. "
            "`path` is the file and line of each.",
            HTTPStatus.TOO_MANY_REQUESTS: "",
        },
    ),
    Operation(
        name="getOpenapi",
        tag=_TAG,
        summary="Describe this interface for programs",
        replies=(
            Reply(
                HTTPStatus.OK,
                "An OpenAPI 3.1 document: this one.",
                (Content((dict[str, Any],), {}, JSON),),
            ),
        ),
    ),
    Operation(
        name="getDocs",
        tag=_TAG,
        summary="Describe this interface for people",
        replies=(
            Reply(
                HTTPStatus.OK,
                "A page that needs nothing else, no script and no other server.",
                (Content((), {}, HTML),),
            ),
        ),
    ),
)

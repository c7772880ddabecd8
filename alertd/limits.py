"""Everything that is bounded for those who use the HTTP interface, in one table.

Owns the names of the limits, what each bounds and how it can be changed. Whoever refuses at a limit
says so in words and puts the limit's name beside them (``Problem.limit``, ``AlertdError.limit``),
so that it is counted where answers are made. What only rules refuse has no answer: it is counted
by ``upkeep/limit_watch.py``. The numbers that are always the same stand here, once: for whoever
refuses, for docs/limits.md and for the schemas in ``/openapi.json``. The others are settings.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

MAX_HEAD_BYTES: Final = 16_384
MAX_METRIC_NAME_CHARS: Final = 200
MAX_LABELS: Final = 32
MAX_LABEL_NAME_CHARS: Final = 100
MAX_LABEL_VALUE_CHARS: Final = 1_000
MAX_EVENT_ID_CHARS: Final = 200
MAX_RULES: Final = 100_000
MAX_SILENCES: Final = 1_000
"""That are on or to come; each is looked at for every notification."""
MAX_PATTERN_CHARS: Final = 500
MAX_PATTERN_BYTES: Final = 1 << 20
"""Memory that one compiled pattern may take."""
MAX_PAGE_ITEMS: Final = 1_000


class Limit(StrEnum):
    """A bound; the value of ``limit`` in ``alertd_limits_reached_total``."""

    BODY = "body"
    EVENTS_PER_REQUEST = "events_per_request"
    CONNECTIONS = "connections"
    REQUESTS_IN_FLIGHT = "requests_in_flight"
    HEAD = "head"
    HEAD_TIME = "head_time"
    BODY_TIME = "body_time"
    SEND_TIME = "send_time"
    QUEUE = "queue"
    ALLOWANCE = "allowance"
    METRIC_NAME = "metric_name"
    LABELS = "labels"
    LABEL_NAME = "label_name"
    LABEL_VALUE = "label_value"
    EVENT_ID = "event_id"
    SERIES = "series"
    GROUPS = "groups"
    GROUP_EVENTS = "group_events"
    RULES = "rules"
    SILENCES = "silences"
    PATTERN = "pattern"
    PAGE = "page"
    LINE = "line"
    LINE_CONNECTIONS = "line_connections"
    LINE_TIME = "line_time"
    LINE_PAUSE = "line_pause"


class Bound(NamedTuple):
    """What one limit means."""

    what: str
    setting: str
    """The key that changes it, or what it always is."""
    answer: str
    """What is told to whoever goes beyond."""


_EVENT_REFUSED: Final = "the event is refused"
_NOT_JUDGED: Final = "stored, and not judged by the rule"

BOUNDS: Final = {
    Limit.BODY: Bound("bytes of a body, as it comes and inflated", "server.max_body_bytes", "413"),
    Limit.EVENTS_PER_REQUEST: Bound("events in a request", "server.max_events_per_request", "413"),
    Limit.CONNECTIONS: Bound("open connections", "server.max_connections", "503, closed"),
    Limit.REQUESTS_IN_FLIGHT: Bound(
        "requests worked on at once, from the end of the body to the reply",
        "server.max_requests_in_flight",
        "503",
    ),
    Limit.HEAD: Bound("bytes of a request's head", f"{MAX_HEAD_BYTES:,}", "431, closed"),
    Limit.HEAD_TIME: Bound(
        "time to send a head, or between requests", "server.keep_alive_timeout_secs", "closed"
    ),
    Limit.BODY_TIME: Bound("time to send a body", "server.keep_alive_timeout_secs", "408, closed"),
    Limit.SEND_TIME: Bound("time to take a piece of a reply", "server.send_timeout_secs", "closed"),
    Limit.QUEUE: Bound(
        "events that wait for their commit; 4,096 requests", "engine.max_queue_events", "429"
    ),
    Limit.ALLOWANCE: Bound("what a token may send", "auth.tokens.max_…", "429"),
    Limit.METRIC_NAME: Bound(
        "characters of a metric's name", f"{MAX_METRIC_NAME_CHARS}", _EVENT_REFUSED
    ),
    Limit.LABELS: Bound("labels of an event", f"{MAX_LABELS}", _EVENT_REFUSED),
    Limit.LABEL_NAME: Bound(
        "characters of a label's name", f"{MAX_LABEL_NAME_CHARS}", _EVENT_REFUSED
    ),
    Limit.LABEL_VALUE: Bound(
        "characters of a label's value", f"{MAX_LABEL_VALUE_CHARS:,}", _EVENT_REFUSED
    ),
    Limit.EVENT_ID: Bound("characters of an event's id", f"{MAX_EVENT_ID_CHARS}", _EVENT_REFUSED),
    Limit.SERIES: Bound("series", "engine.max_series", _EVENT_REFUSED),
    Limit.GROUPS: Bound("groups of a rule", "engine.max_groups_per_rule", _NOT_JUDGED),
    Limit.GROUP_EVENTS: Bound(
        "events that a group keeps",
        "engine.max_events_per_group",
        _NOT_JUDGED,
    ),
    Limit.RULES: Bound("rules", f"{MAX_RULES:,}", "409"),
    Limit.SILENCES: Bound("silences", f"{MAX_SILENCES:,}", "409"),
    Limit.PATTERN: Bound(
        "regular expression: characters; memory when compiled",
        f"{MAX_PATTERN_CHARS}; {MAX_PATTERN_BYTES >> 20} MiB",
        "422",
    ),
    Limit.PAGE: Bound("items of a page", f"{MAX_PAGE_ITEMS:,}", "400"),
    Limit.LINE: Bound(
        "bytes of a line sent to a socket", "lines.max_line_bytes", "the line is refused"
    ),
    Limit.LINE_CONNECTIONS: Bound(
        "open connections that send lines, TCP and UNIX each",
        "lines.max_connections",
        "told, closed",
    ),
    Limit.LINE_TIME: Bound("time without a line", "lines.idle_timeout_secs", "told, closed"),
    Limit.LINE_PAUSE: Bound(
        "time that lines wait for `queue`, `allowance` or the disk",
        "lines.max_pause_secs",
        "told, closed",
    ),
}
"""Every limit."""

"""Everything that is bounded for those who use the HTTP interface, in one table.

Owns the names of the limits, what each bounds and how it can be changed. Whoever refuses at a limit
says so in words and puts the limit's name beside them (``Problem.limit``, ``AlertdError.limit``),
so that it is counted where answers are made. What only rules refuse has no answer: it is counted
by ``upkeep/limit_watch.py``. Leaves the numbers to those who keep them, and to the configuration.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


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


BOUNDS: Final = {
    Limit.BODY: Bound("bytes of a body, as it comes and inflated", "server.max_body_bytes", "413"),
    Limit.EVENTS_PER_REQUEST: Bound("events in a request", "server.max_events_per_request", "413"),
    Limit.CONNECTIONS: Bound("open connections", "server.max_connections", "503, closed"),
    Limit.REQUESTS_IN_FLIGHT: Bound(
        "requests worked on at once, from the end of the body to the reply",
        "server.max_requests_in_flight",
        "503",
    ),
    Limit.HEAD: Bound("bytes of a request's head", "16,384", "431, closed"),
    Limit.HEAD_TIME: Bound(
        "time to send a head, or between requests", "server.keep_alive_timeout_secs", "closed"
    ),
    Limit.BODY_TIME: Bound("time to send a body", "server.keep_alive_timeout_secs", "408, closed"),
    Limit.SEND_TIME: Bound("time to take a piece of a reply", "server.send_timeout_secs", "closed"),
    Limit.QUEUE: Bound(
        "events that wait for their commit; 4,096 requests", "engine.max_queue_events", "429"
    ),
    Limit.ALLOWANCE: Bound("what a token may send", "auth.tokens.max_…", "429"),
    Limit.METRIC_NAME: Bound("characters of a metric's name", "200", "the event is refused"),
    Limit.LABELS: Bound("labels of an event", "32", "the event is refused"),
    Limit.LABEL_NAME: Bound("characters of a label's name", "100", "the event is refused"),
    Limit.LABEL_VALUE: Bound("characters of a label's value", "1,000", "the event is refused"),
    Limit.EVENT_ID: Bound("characters of an event's id", "200", "the event is refused"),
    Limit.SERIES: Bound("series", "engine.max_series", "the event is refused"),
    Limit.GROUPS: Bound(
        "groups of a rule", "engine.max_groups_per_rule", "stored, and not judged by the rule"
    ),
    Limit.GROUP_EVENTS: Bound(
        "events that a group keeps",
        "engine.max_events_per_group",
        "stored, and not judged by the rule",
    ),
    Limit.RULES: Bound("rules", "100,000", "409"),
    Limit.SILENCES: Bound("silences", "1,000", "409"),
    Limit.PATTERN: Bound(
        "regular expression: characters; memory when compiled", "500; 1 MiB", "422"
    ),
    Limit.PAGE: Bound("items of a page", "1,000", "400"),
    Limit.LINE: Bound(
        "bytes of a line sent to a socket", "lines.max_line_bytes", "the line is refused"
    ),
    Limit.LINE_CONNECTIONS: Bound(
        "open connections that send lines", "lines.max_connections", "told, closed"
    ),
    Limit.LINE_TIME: Bound("time without a line", "lines.idle_timeout_secs", "told, closed"),
    Limit.LINE_PAUSE: Bound(
        "time that lines wait for `queue`, `allowance` or the disk",
        "lines.max_pause_secs",
        "told, closed",
    ),
}
"""Every limit."""

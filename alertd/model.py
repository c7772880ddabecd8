"""The nouns that every part of alertd shares.

Owns: events and series, the rule as the engine judges it, incidents and their transitions. Leaves
telling people of them to ``outbound.py``. Everything here is plain immutable data. Times are
``int`` microseconds since the Unix epoch (``_us``), durations are ``int`` microseconds too: no
float ever decides a window's edge. What a user writes (seconds, camelCase) is translated at the
borders: ``rules.py``, ``http/*_replies.py``, ``config/settings.py``.
"""

from __future__ import annotations

import operator
import uuid
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import Final

from msgspec import Struct

US_PER_S = 1_000_000

Labels = tuple[tuple[str, str], ...]
"""A label set in canonical form: pairs sorted by name, each name once."""

NAMESPACE = uuid.UUID("5d8f3c8e-0b52-5c6e-9b0a-9f1c2a7d4e11")
"""The UUIDv5 namespace of every deterministic id that alertd makes."""


class RuleType(StrEnum):
    """How a rule looks at time (SEMANTICS, section 3)."""

    SIMPLE_COUNT = "SIMPLE_COUNT"
    MOVING_WINDOW = "MOVING_WINDOW"
    BUCKETED_WINDOW = "BUCKETED_WINDOW"


class Operator(StrEnum):
    """The comparison between the aggregate and the threshold."""

    GT = ">"
    GE = ">="
    LT = "<"
    LE = "<="
    EQ = "=="
    NE = "!="


COMPARE: Final[Mapping[Operator, Callable[[float, float], bool]]] = {
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
}
"""What decides ``value operator threshold``."""


class MatchOperator(StrEnum):
    """The comparison between a label and a matcher's pattern; regular expressions are anchored."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


class OnNoData(StrEnum):
    """What a window without a value means for an incident."""

    RESOLVE = "resolve"
    KEEP = "keep"
    ALERT = "alert"


class Evaluate(StrEnum):
    """When a bucketed window is judged: when it has closed, or from its first event on."""

    ON_CLOSE = "on_close"
    EARLY = "early"


class Severity(StrEnum):
    """How bad it is, the worst first."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class DetectedBy(StrEnum):
    """Which look at the data found an incident."""

    STREAM = "stream"
    LATE = "late"
    RECONCILE = "reconcile"
    BACKFILL = "backfill"


class EndReason(StrEnum):
    """Why an incident ended."""

    RECOVERED = "recovered"
    NO_DATA = "no_data"
    RULE_CHANGED = "rule_changed"
    RULE_DELETED = "rule_deleted"
    EXPIRED = "expired"


class GroupState(StrEnum):
    """Where one (rule, group) stands; ``NO_DATA`` is an ok group whose window has no value."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    NO_DATA = "no_data"


class Series(Struct, frozen=True, gc=False):
    """A metric name and a label set, with the small number that stands for them everywhere."""

    id: int
    metric_name: str
    labels: Labels


class EventBatch(Struct, frozen=True):
    """Accepted events in columns, in order of arrival, with the moment they were received.

    The four columns have one length. ``ids`` holds the senders' idempotency keys (None where an
    event has none) and is None when no event of the batch has one.
    """

    received_us: int
    series_ids: array[int]
    """Series numbers, typecode ``I``."""
    times_us: array[int]
    """Event times, typecode ``q``."""
    values: array[float]
    """Values, typecode ``d``, all finite."""
    ids: tuple[str | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.series_ids)

    def select(self, places: Sequence[int]) -> EventBatch:
        """Return the events at ``places`` as a batch of the same receipt."""
        return EventBatch(
            received_us=self.received_us,
            series_ids=array("I", [self.series_ids[place] for place in places]),
            times_us=array("q", [self.times_us[place] for place in places]),
            values=array("d", [self.values[place] for place in places]),
            ids=None if self.ids is None else tuple(self.ids[place] for place in places),
        )

    @classmethod
    def joined(cls, batches: Sequence[EventBatch]) -> EventBatch:
        """Return the events of ``batches``, at least one, in order, as received with the last."""
        if len(batches) == 1:
            return batches[0]
        series_ids, times_us, values = array("I"), array("q"), array("d")
        for batch in batches:
            series_ids.extend(batch.series_ids)
            times_us.extend(batch.times_us)
            values.extend(batch.values)
        ids = None
        if any(batch.ids is not None for batch in batches):
            ids = tuple(chain.from_iterable(batch.ids or (None,) * len(batch) for batch in batches))
        return cls(batches[-1].received_us, series_ids, times_us, values, ids)

    def slices(self, size: int) -> Iterator[EventBatch]:
        """Yield the batch in parts of at most ``size`` events, of the same receipt."""
        if len(self) <= size:
            yield self
            return
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield EventBatch(
                received_us=self.received_us,
                series_ids=self.series_ids[part],
                times_us=self.times_us[part],
                values=self.values[part],
                ids=None if self.ids is None else self.ids[part],
            )


class RefusalReason(StrEnum):
    """Why an event was refused."""

    MALFORMED = "malformed"
    FUTURE = "future"
    """Further ahead of the clock than ``engine.max_future_skew_secs``."""
    TOO_OLD = "too_old"
    """Older than ``store.event_retention_days``."""
    SERIES_LIMIT = "series_limit"
    """A new series when ``engine.max_series`` was reached."""


class Refused(Struct, frozen=True):
    """One event that was not taken, as its sender was told."""

    reason: RefusalReason
    path: str
    """JSON pointer into its request, to the first thing that was wrong."""
    message: str
    event: object
    """What was sent, as plain data; a string where it could not be parsed."""
    index: int = 0
    """Its place in its request."""


class Matcher(Struct, frozen=True):
    """One condition on one label; a missing label is the empty string."""

    label: str
    operator: MatchOperator
    pattern: str


class Target(Struct, frozen=True):
    """Where a rule's notifications go.

    ``channel`` is the name of a configured channel and ``endpoint`` is None, or it is a type
    (``EMAIL``, ``SLACK``, ``WEBHOOK``) and ``endpoint`` is the address.
    """

    channel: str
    """A name, or a type."""
    endpoint: str | None = None
    """The address, for a type."""


class Escalation(Struct, frozen=True):
    """Who else is told of an incident if nobody has acknowledged it in time."""

    after_us: int
    """How long after the others; more than 0."""
    to: tuple[Target, ...]


class Rule(Struct, frozen=True, kw_only=True):
    """A rule as the engine judges it: every default filled in, every duration in microseconds."""

    id: str
    version: int
    name: str
    type: RuleType
    metric_name: str
    matchers: tuple[Matcher, ...]
    group_by: tuple[str, ...]
    aggregate: str
    operator: Operator
    threshold: float
    resolve_threshold: float | None
    window_us: int
    bucket_us: int
    """Advance of a bucketed window; equal to ``window_us`` for a tumbling one and elsewhere."""
    min_samples: int
    """With fewer events a window has no value; at least 1 for an aggregate that needs one."""
    for_us: int
    keep_firing_us: int
    allowed_lateness_us: int
    on_no_data: OnNoData
    evaluate: Evaluate
    group_ttl_us: int
    severity: Severity
    description: str
    runbook_url: str | None
    repeat_interval_us: int
    targets: tuple[Target, ...]
    escalation: Escalation | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    """By name a template; see ``channels/annotations.py``."""


class IncidentSeries(Struct, frozen=True, gc=False):
    """The incidents of one rule and group, one after the other."""

    rule_id: str
    group: Labels


class Incident(Struct, frozen=True, kw_only=True, gc=False):
    """One stretch of time in which a rule's condition held for one group.

    The interval is ``[started_us, ended_us)``; while ``ended_us`` is None it is still firing.
    """

    id: str
    rule_id: str
    rule_version: int
    group: Labels
    started_us: int
    """When the condition turned true."""
    fired_us: int
    """``started_us`` + ``for``: when it became an incident."""
    ended_us: int | None = None
    value: float | None
    """The aggregate at ``fired_us``; None where the window had no value (``onNoData = alert``)."""
    peak_value: float | None
    """The value furthest beyond the threshold so far."""
    window_start_us: int
    window_end_us: int
    event_time_us: int
    """Event time of the newest event in the window at ``fired_us``; ``fired_us`` if it had none."""
    detected_us: int
    """Wall time at which alertd knew of it."""
    late_by_us: int = 0
    """How far behind the group's horizon the event that revealed it was."""
    detected_by: DetectedBy = DetectedBy.STREAM
    end_reason: EndReason | None = None
    continues: str | None = None
    merged_into: str | None = None

    @property
    def series(self) -> IncidentSeries:
        """The series that it is one of."""
        return IncidentSeries(self.rule_id, self.group)


class TransitionKind(StrEnum):
    """The change of state that a transition reports."""

    PENDING = "pending"
    CLEARED = "cleared"
    """A pending condition ended before ``for`` had passed; no incident was made."""
    FIRING = "firing"
    RESOLVED = "resolved"
    CORRECTED = "corrected"
    """Late data has made an incident longer, or joined it to another. Recorded, never told."""


class Limits(Struct, frozen=True, kw_only=True):
    """How much the engine keeps of one rule. What would be more is stored and not judged."""

    groups_per_rule: int = 1_000_000
    events_per_group: int = 10_000_000
    """Events that a group keeps because a window or a late event may need them; 16 bytes each."""


class Transition(Struct, frozen=True, kw_only=True, gc=False):
    """A change of state of one (rule, group), at an instant of event time.

    ``incident`` is the incident after the change; None for PENDING and CLEARED.
    ``value`` is the aggregate at ``at_us``, None if the window had no value there.
    """

    kind: TransitionKind
    rule: Rule
    group: Labels
    at_us: int
    detected_us: int
    value: float | None
    incident: Incident | None = None


def incident_id(rule_id: str, group: Labels, started_us: int, active_us: int, version: int) -> str:
    """Return the id of the incident of ``rule_id`` on ``group`` that began at ``started_us``.

    UUIDv5 (RFC 9562) of the three; a replay of the log makes the same ids. Of an incident that
    began before the rule became active, at ``active_us``, that is a part as well: the same
    breach may have been told by the rule before it was edited or paused. So is the ``version`` of
    a rule that was edited: an edit may end an incident at the very instant at which another begins.
    """
    labels = "\x1f".join(f"{name}\x1e{value}" for name, value in group)
    parts = ["incident", rule_id, labels, str(started_us)]
    if started_us < active_us:
        parts.append(str(active_us))
    if version > 1:
        parts.append(f"version {version}")
    return str(uuid.uuid5(NAMESPACE, "\x1d".join(parts)))


def continuation_id(told_id: str) -> str:
    """Return the id of the incident that goes on where the one with ``told_id`` was told to end.

    That may be the instant at which it began, so time does not tell the two apart.
    """
    return str(uuid.uuid5(NAMESPACE, f"continuation\x1d{told_id}"))


def rule_id_of_name(name: str) -> str:
    """Return the id of the rule that a file names ``name``: history follows the name."""
    return str(uuid.uuid5(NAMESPACE, f"rule\x1d{name}"))

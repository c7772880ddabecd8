"""An event as a sender writes it, whatever the encoding.

Owns the fields of an event and what each may be, and the two ways from events to a draft.
``to_columns`` takes well-formed events all at once and refuses to say what is wrong with one that
is not; ``OneByOne`` takes each alone, keeps the good and words the mistakes of the others, up to
``MAX_PROBLEMS``. Both accept the same events. Leaves bytes to ``json_events.py`` and
``msgpack_events.py``, label sets to the series registry, the judgement of times to the intake.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from operator import attrgetter
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from alertd.arrays import bounds
from alertd.errors import InvalidInput, Overloaded, Problem
from alertd.http import strict
from alertd.http.timestamp import instant_us, instants_us
from alertd.ingest.intake import Draft
from alertd.limits import MAX_EVENT_ID_CHARS, Limit
from alertd.model import RefusalReason

MAX_PROBLEMS: Final = 10
"""Mistakes reported of one event. Wording each of a million would hold up all other requests."""


class TooManyEvents(InvalidInput):
    """The request holds more events than one request may."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            [
                Problem(
                    "",
                    f"the request has more than {limit} events; send them in several requests or "
                    "raise server.max_events_per_request",
                    Limit.EVENTS_PER_REQUEST,
                )
            ]
        )


class NotPlain(Exception):
    """Something about the events is wrong, or may be: they must be taken one by one."""


DOUBTS: Final = (
    msgspec.MsgspecError,
    NotPlain,
    UnicodeDecodeError,
    RecursionError,
    ValueError,
    InvalidInput,
    Overloaded,
)
"""What a decoder of whole bodies meets where something may be wrong: msgspec's own refusals, those
of timestamps and of the registry. Taking the events one by one finds out, and words it."""


class SeriesLookup(Protocol):
    """What names series: ``alertd.ingest.series.SeriesRegistry``."""

    def lookup(self, metric_name: str, raw_labels: bytes) -> int:
        """Return the series that a JSON object of labels belongs to. Raises ``InvalidInput``."""
        ...

    def lookup_all(self, metric_names: Sequence[str], raw_labels: Sequence[bytes]) -> array[int]:
        """Return ``lookup`` of each event; raises as it does."""
        ...

    def lookup_rows(
        self,
        metric_names: Sequence[str],
        rows: bytes,
        width: int,
        texts: Callable[[], Sequence[bytes]],
    ) -> array[int]:
        """Return ``lookup_all`` of labels in rows of one length; ``texts`` returns them."""
        ...

    def resolve(self, metric_name: str, labels: Mapping[str, str]) -> int:
        """Return the series of a label set. Raises ``InvalidInput`` and ``Overloaded``."""
        ...


class EventFields(Struct, gc=False, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What an event has in every encoding, but for its labels."""

    metric_name: str
    """What is measured or counted: no spaces, at most 200 characters."""
    timestamp: str | int | float | None = None
    """When it happened: RFC 3339 with any offset, or epoch seconds; absent: now."""
    value: float = 1.0
    """A finite number; what only occurs counts as 1."""
    id: str | None = None
    """The sender's id: of one metric the same id is counted once, for 24 hours."""


class Event(EventFields, gc=False, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An event with its labels."""

    labels: dict[str, str] = msgspec.field(default_factory=dict)
    """What it is about; with the metric they are the series."""


name_of, labels_of = attrgetter("metric_name"), attrgetter("labels")
_timestamp_of, _value_of, _id_of = attrgetter("timestamp"), attrgetter("value"), attrgetter("id")


def to_columns(events: Sequence[EventFields], received_us: int) -> Draft:
    """Return well-formed events as columns, but for their series.

    Raises ``NotPlain`` or ``ValueError`` for anything that must be looked at one by one. About
    half a microsecond an event: no Python runs between one and the next.
    """
    values = array("d", list(map(_value_of, events)))
    if not are_plain(values):
        raise NotPlain
    ids = list(map(_id_of, events))
    has_ids = ids.count(None) < len(ids)
    if has_ids and not ids_are_valid(ids):
        raise NotPlain
    times_us = instants_us(list(map(_timestamp_of, events)), received_us)
    return Draft(times_us=times_us, values=values, ids=ids if has_ids else None)


def are_plain(values: array[float]) -> bool:
    """Return whether all are surely numbers that may be sent.

    A whole number beyond 64 bits reads as a float: only the slow way can tell.
    """
    least, greatest = bounds(values)
    return least > -strict.FLOAT_FROM and greatest < strict.FLOAT_FROM


def ids_are_valid(ids: Sequence[str | None] | None) -> bool:
    """Return whether each id, where there is one, has an admissible length."""
    return ids is None or all(
        given is None or 0 < len(given) <= MAX_EVENT_ID_CHARS for given in ids
    )


ID_REMEDY: Final = f"must have 1 to {MAX_EVENT_ID_CHARS} characters"


class OneByOne:
    """Takes events one by one into a draft, and says what is wrong with those it refuses."""

    def __init__(self, registry: SeriesLookup, received_us: int, max_events: int) -> None:
        self._registry = registry
        self._received_us = received_us
        self._max_events = max_events
        self._indexes: list[int] = []
        self._ids: list[str | None] = []
        self.draft = Draft(indexes=self._indexes)
        """What was taken so far."""
        self.seen = 0

    def finish(self) -> Draft:
        """Return the draft; nothing may be taken afterwards."""
        if any(given is not None for given in self._ids):
            self.draft.ids = self._ids
        return self.draft

    def take(self, value: object) -> None:
        """Take one event as plain data. Raises ``TooManyEvents``."""
        try:
            event = _to_event(value)
            time_us = self._check(event)
            series_id = self._registry.resolve(event.metric_name, event.labels)
        except InvalidInput as error:
            self.refuse(RefusalReason.MALFORMED, error.problems, value)
            return
        except Overloaded as error:
            # No room for a new series: it must not keep events of known series out.
            self.refuse(
                RefusalReason.SERIES_LIMIT, [Problem("/labels", str(error), error.limit)], value
            )
            return
        draft = self.draft
        draft.series_ids.append(series_id)
        draft.times_us.append(time_us)
        draft.values.append(event.value)
        self._ids.append(event.id)
        self._indexes.append(self.seen)
        self._count()

    def refuse(self, reason: RefusalReason, problems: Sequence[Problem], event: object) -> None:
        """Note that the next event is not taken. Raises ``TooManyEvents``."""
        self.draft.refuse(reason, problems, event, self.seen)
        self._count()

    def _check(self, event: Event) -> int:
        """Return the event's time. Raises ``InvalidInput``."""
        problems = []
        if not ids_are_valid([event.id]):
            problems.append(Problem("/id", ID_REMEDY, Limit.EVENT_ID))
        time_us = self._received_us
        if event.timestamp is not None:
            try:
                time_us = instant_us(event.timestamp)
            except ValueError as error:
                problems.append(Problem("/timestamp", str(error)))
        if problems:
            raise InvalidInput(problems)
        return time_us

    def _count(self) -> None:
        self.seen += 1
        if self.seen > self._max_events:
            raise TooManyEvents(self._max_events)


def _to_event(value: object) -> Event:
    """Return plain data as an event: by msgspec if it is sure to be right, else strictly."""
    try:
        event = msgspec.convert(value, Event)
        msgspec.json.encode(event)  # which fails on what is not UTF-8
    except (msgspec.ValidationError, UnicodeEncodeError):
        return strict.to_struct(value, Event, max_problems=MAX_PROBLEMS)
    is_plain = isfinite(event.value) and abs(event.value) < strict.FLOAT_FROM
    return event if is_plain else strict.to_struct(value, Event, max_problems=MAX_PROBLEMS)

"""The door that every source of events goes through.

Owns what is checked on each event whatever way it came in: a clock that runs ahead, a time
before the retention, and that what was refused is reported with its place. HTTP decodes
bytes into a ``Draft``; host metrics make one directly; another source would do the same.
Leaves decoding to the sources, order and durability to the pipeline, and what was refused to
the quarantine.

Invariant: an event of a draft is either in the receipt's ``accepted`` or ``duplicates``, and
then durable, or it is in ``rejected`` and named by a problem.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from alertd.arrays import bounds
from alertd.clock import Clock, format_us
from alertd.errors import InvalidInput, Problem
from alertd.ingest.idempotency import KeyedRequest, RequestId
from alertd.ingest.series import SeriesRegistry
from alertd.model import US_PER_S, EventBatch, RefusalReason, Refused


@dataclass(slots=True)
class Draft:
    """Decoded events, not yet admitted. Columns of one length; see ``EventBatch``."""

    series_ids: array[int] = field(default_factory=lambda: array("I"))
    times_us: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    ids: list[str | None] | None = None
    indexes: list[int] | None = None
    """The place of each event in its request; None means 0, 1, 2 …"""
    problems: list[Problem] = field(default_factory=list)
    """Everything that was wrong with the events that are refused."""
    refused: list[Refused] = field(default_factory=list)
    place: Callable[[str, int], str] = field(default=lambda path, index: f"/{index}{path}")
    """Where something stands in the request: from its path in an event, and the event's index.
    ``alone`` and ``in_columns`` are the other ways to send events."""

    @property
    def rejected(self) -> int:
        """How many events are refused so far."""
        return len(self.refused)

    def refuse(
        self, reason: RefusalReason, problems: Sequence[Problem], event: object, index: int
    ) -> None:
        """Note that ``event``, which stood at ``index``, is not taken.

        The paths of ``problems`` (at least one) are relative to the event.
        """
        placed = [each._replace(path=self.place(each.path, index)) for each in problems]
        self.refuse_placed(reason, placed, event, index)

    def refuse_placed(
        self,
        reason: RefusalReason,
        problems: Sequence[Problem],
        event: object,
        index: int,
        *,
        say: bool = True,
    ) -> None:
        """Note that ``event``, which stood at ``index``, is not taken.

        ``problems`` (at least one) have paths in the request.

        Without ``say`` they are not reported once more: they have been, with another event.
        """
        if say:
            self.problems.extend(problems)
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        self.refused.append(Refused(reason, first.path, first.message + more, event, index))


def alone(path: str, _index: int) -> str:
    """Return where ``path`` of an event stands in a request that is one bare event."""
    return path


def in_columns(path: str, index: int) -> str:
    """Return where ``path`` of an event stands in a request of columns: ``/value/17``."""
    return f"{path}/{index}"


class Receipt(Struct, frozen=True):
    """What became of a draft. Everything accepted is durable."""

    accepted: int
    duplicates: int
    rejected: int
    problems: tuple[Problem, ...]


class Log(Protocol):
    """Where admitted events go: the pipeline."""

    async def append(self, batch: EventBatch, request: KeyedRequest | None = None) -> int:
        """Make ``batch`` durable and return how many of its events were duplicates.

        Raises ``Overloaded`` at once when the queue is full and ``StoreUnavailable`` when
        nothing was stored.
        """
        ...


class RefusedEvents(Protocol):
    """Where refused events go: the quarantine."""

    def put(self, refused: Sequence[Refused], received_us: int) -> None:
        """Count and keep ``refused``. Neither waits nor fails."""
        ...


class Answer(Struct, frozen=True):
    """A request with an ``Idempotency-Key``, and how its receipt is worded."""

    request: RequestId
    encode: Callable[[Receipt], bytes]


class Intake:
    """Admits drafts: checks their times, hands them to the log, and writes the receipt."""

    def __init__(
        self,
        log: Log,
        registry: SeriesRegistry,
        clock: Clock,
        quarantine: RefusedEvents,
        *,
        max_future_skew_us: int,
        retention_us: int,
    ) -> None:
        self.registry = registry
        self._log = log
        self._clock = clock
        self._quarantine = quarantine
        self._max_future_skew_us = max_future_skew_us
        self._retention_us = retention_us

    def now_us(self) -> int:
        """Return the moment of receipt for a request whose body has just arrived.

        Whoever asks must submit without another await in between, and ask again before they
        submit again, so that receive times in the log never decrease.
        """
        return self._clock.now_us()

    async def submit(
        self,
        draft: Draft,
        received_us: int,
        *,
        atomic: bool = False,
        answer: Answer | None = None,
    ) -> Receipt:
        """Store what is admissible of ``draft`` and return the receipt once that is durable.

        With ``answer``, the receipt as it words it is stored in the same transaction. Raises
        ``InvalidInput`` when nothing was admissible, or with ``atomic`` when anything was not;
        nothing is stored then. Raises ``Overloaded`` and ``StoreUnavailable``; the sender will
        repeat the request, so nothing of it goes to the quarantine yet.
        """
        self._refuse_times(draft, received_us)
        if draft.problems and (atomic or not draft.series_ids):
            self._quarantine.put(draft.refused, received_us)
            raise InvalidInput(draft.problems)
        size = len(draft.series_ids)
        if size == 0 and answer is None:
            return Receipt(0, 0, 0, ())
        batch = EventBatch(
            received_us=received_us,
            series_ids=draft.series_ids,
            times_us=draft.times_us,
            values=draft.values,
            ids=None if draft.ids is None else tuple(draft.ids),
        )

        def receipt(duplicates: int) -> Receipt:
            return Receipt(size - duplicates, duplicates, draft.rejected, tuple(draft.problems))

        duplicates = await self._log.append(batch, _keyed(answer, receipt))
        if draft.refused:
            self._quarantine.put(draft.refused, received_us)
        return receipt(duplicates)

    def _refuse_times(self, draft: Draft, received_us: int) -> None:
        """Move events that are too far ahead or too old from the columns to the problems."""
        if not draft.times_us:
            return
        latest_us = received_us + self._max_future_skew_us
        earliest_us = received_us - self._retention_us
        least_us, greatest_us = bounds(draft.times_us)
        if earliest_us <= least_us and greatest_us <= latest_us:
            return
        kept = []
        for place, time_us in enumerate(draft.times_us):
            if earliest_us <= time_us <= latest_us:
                kept.append(place)
                continue
            reason = RefusalReason.FUTURE if time_us > latest_us else RefusalReason.TOO_OLD
            problem = Problem("/timestamp", self._why_refused(reason, time_us, received_us))
            index = place if draft.indexes is None else draft.indexes[place]
            draft.refuse(reason, [problem], self._as_sent(draft, place), index)
        draft.series_ids = array("I", [draft.series_ids[place] for place in kept])
        draft.times_us = array("q", [draft.times_us[place] for place in kept])
        draft.values = array("d", [draft.values[place] for place in kept])
        if draft.ids is not None:
            draft.ids = [draft.ids[place] for place in kept]
        # Who submits the draft again, later, may have more of it refused.
        draft.indexes = kept if draft.indexes is None else [draft.indexes[each] for each in kept]

    def _as_sent(self, draft: Draft, place: int) -> dict[str, object]:
        """Return an event of a draft in the form in which it can be sent again."""
        series = self.registry.get(draft.series_ids[place])
        event: dict[str, object] = {
            "metricName": series.metric_name,
            "timestamp": _shown_time(draft.times_us[place]),
            "value": draft.values[place],
            "labels": dict(series.labels),
        }
        if draft.ids is not None and draft.ids[place] is not None:
            event["id"] = draft.ids[place]
        return event

    def _why_refused(self, reason: RefusalReason, time_us: int, received_us: int) -> str:
        shown = _shown_time(time_us)
        when = shown if isinstance(shown, str) else f"{shown:g} s"
        if reason is RefusalReason.FUTURE:
            skew_s = self._max_future_skew_us / US_PER_S
            return (
                f"{when} is more than {skew_s:g} s ahead of this server's clock "
                f"({format_us(received_us)}); mend the sender's clock or raise "
                "engine.max_future_skew_secs"
            )
        days = self._retention_us / (86_400 * US_PER_S)
        return (
            f"{when} is older than {days:g} days, the event retention (store.event_retention_days)"
        )


def _keyed(answer: Answer | None, receipt: Callable[[int], Receipt]) -> KeyedRequest | None:
    if answer is None:
        return None
    return KeyedRequest(answer.request, lambda duplicates: answer.encode(receipt(duplicates)))


def _shown_time(time_us: int) -> str | float:
    """Return a time as RFC 3339, in seconds where the year has not four digits."""
    try:
        return format_us(time_us)
    except ValueError:
        return time_us / US_PER_S

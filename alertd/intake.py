"""The door that every source of events goes through.

Owns what is checked on each event whatever way it came in: a clock that runs ahead, a time
before the retention, and that what was refused is reported with its place. HTTP decodes
bytes into a ``Draft``; host metrics make one directly; another source would do the same.
Leaves decoding to the sources, and order and durability to the pipeline.

Invariant: an event of a draft is either in the receipt's ``accepted`` or ``duplicates``, and
then durable, or it is in ``rejected`` and named by a problem.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from alertd.clock import Clock, format_us
from alertd.errors import InvalidInput, Problem
from alertd.model import EventBatch
from alertd.series import SeriesRegistry


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
    """What the source refused already."""
    rejected: int = 0
    """How many events ``problems`` speak of."""
    is_single: bool = False
    """The request was one bare event, so its paths have no index: ``/value``, not ``/0/value``."""


class Receipt(Struct, frozen=True):
    """What became of a draft. Everything accepted is durable."""

    accepted: int
    duplicates: int
    rejected: int
    problems: tuple[Problem, ...]


class Log(Protocol):
    """Where admitted events go: the pipeline."""

    async def append(self, batch: EventBatch) -> int:
        """Make ``batch`` durable and return how many of its events were duplicates.

        Raises ``Overloaded`` at once when the queue is full and ``StoreUnavailable`` when
        nothing was stored.
        """
        ...


class Intake:
    """Admits drafts: checks their times, hands them to the log, and writes the receipt."""

    def __init__(
        self,
        log: Log,
        registry: SeriesRegistry,
        clock: Clock,
        *,
        max_future_skew_us: int,
        retention_us: int,
    ) -> None:
        self.registry = registry
        self._log = log
        self._clock = clock
        self._max_future_skew_us = max_future_skew_us
        self._retention_us = retention_us

    def now_us(self) -> int:
        """Return the moment of receipt for a request whose body has just arrived.

        Whoever asks must submit without another await in between, so that receive times in
        the log never decrease.
        """
        return self._clock.now_us()

    async def submit(self, draft: Draft, received_us: int, *, atomic: bool = False) -> Receipt:
        """Store what is admissible of ``draft`` and return the receipt once that is durable.

        Raises ``InvalidInput`` when nothing was admissible, or with ``atomic`` when anything
        was not; nothing is stored then. Raises ``Overloaded`` and ``StoreUnavailable``.
        """
        self._refuse_times(draft, received_us)
        if draft.problems and (atomic or not draft.series_ids):
            raise InvalidInput(draft.problems)
        size = len(draft.series_ids)
        if size == 0:
            return Receipt(0, 0, 0, ())
        batch = EventBatch(
            received_us=received_us,
            series_ids=draft.series_ids,
            times_us=draft.times_us,
            values=draft.values,
            ids=None if draft.ids is None else tuple(draft.ids),
        )
        duplicates = await self._log.append(batch)
        return Receipt(size - duplicates, duplicates, draft.rejected, tuple(draft.problems))

    def _refuse_times(self, draft: Draft, received_us: int) -> None:
        """Move events that are too far ahead or too old from the columns to the problems."""
        if not draft.times_us:
            return
        latest_us = received_us + self._max_future_skew_us
        earliest_us = received_us - self._retention_us
        if max(draft.times_us) <= latest_us and min(draft.times_us) >= earliest_us:
            return
        kept = []
        for place, time_us in enumerate(draft.times_us):
            if earliest_us <= time_us <= latest_us:
                kept.append(place)
                continue
            index = place if draft.indexes is None else draft.indexes[place]
            path = "/timestamp" if draft.is_single else f"/{index}/timestamp"
            draft.problems.append(Problem(path, self._why_refused(time_us, received_us)))
            draft.rejected += 1
        draft.series_ids = array("I", [draft.series_ids[place] for place in kept])
        draft.times_us = array("q", [draft.times_us[place] for place in kept])
        draft.values = array("d", [draft.values[place] for place in kept])
        if draft.ids is not None:
            draft.ids = [draft.ids[place] for place in kept]

    def _why_refused(self, time_us: int, received_us: int) -> str:
        try:
            when = format_us(time_us)
        except ValueError:
            when = f"{time_us / 1e6:g} s"
        if time_us > received_us:
            skew_s = self._max_future_skew_us / 1e6
            return (
                f"{when} is more than {skew_s:g} s ahead of this server's clock "
                f"({format_us(received_us)}); mend the sender's clock or raise "
                "engine.max_future_skew_secs"
            )
        days = self._retention_us / 86_400e6
        return (
            f"{when} is older than {days:g} days, the event retention (store.event_retention_days)"
        )

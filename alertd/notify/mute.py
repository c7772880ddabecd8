"""Mute schedules: times of the week in which some incidents are not to wake anybody.

Owns whether an instant is within one, and when that is over. Days and hours are those of a clock on
the wall in the schedule's time zone, so a night of mute is an hour shorter or longer when summer
time begins or ends, and ends when that clock says so. Pure: the zone's rules come with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from alertd.matching import Predicate
from alertd.outbound import Hold, HoldReason

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY: Final = 24 * 60


class Mute(Struct, frozen=True, kw_only=True):
    """One schedule: on each of ``weekdays``, from ``start_minute`` of the day on."""

    name: str
    matches: Predicate
    weekdays: frozenset[int]
    """Days on which it begins; Monday is 0."""
    start_minute: int
    end_minute: int
    """Up to and without; not later than the start: on the next day."""
    zone: ZoneInfo

    def until_us(self, now_us: int) -> int | None:
        """Return when it is over if it is on at ``now_us``, None if it is not."""
        now = EPOCH + timedelta(microseconds=now_us)
        today = now.astimezone(self.zone).date()
        # One that began yesterday may still be on.
        ends = [
            end
            for day in (today - timedelta(days=1), today)
            if day.weekday() in self.weekdays
            for start, end in [self._interval(day)]
            if start <= now < end
        ]
        return (max(ends) - EPOCH) // timedelta(microseconds=1) if ends else None

    def _interval(self, day: date) -> tuple[datetime, datetime]:
        """Return the beginning and the end of the one that begins on ``day``, in UTC."""
        length_days = 1 if self.end_minute <= self.start_minute else 0
        begin = self._instant(day, self.start_minute)
        return begin, self._instant(day + timedelta(days=length_days), self.end_minute)

    def _instant(self, day: date, minute: int) -> datetime:
        """Return when the wall clock shows ``minute`` of ``day``.

        Twice in the hour that is repeated: the first time counts. Never in the hour that is
        left out: the instant at which it would have been, had the clock not been put on.
        """
        if minute == MINUTES_A_DAY:
            day, minute = day + timedelta(days=1), 0
        wall = datetime.combine(day, time(minute // 60, minute % 60), tzinfo=self.zone)
        return wall.astimezone(UTC)


def muted(mutes: Iterable[Mute], labels: Mapping[str, str], now_us: int) -> Hold | None:
    """Return the hold of the schedule that ends last, None if none holds."""
    found = [
        (until_us, mute.name)
        for mute in mutes
        if (until_us := mute.until_us(now_us)) is not None and mute.matches(labels)
    ]
    if not found:
        return None
    until_us, name = max(found)
    until = EPOCH + timedelta(microseconds=until_us)
    detail = f"mute schedule {name!r}, until {until:%Y-%m-%d %H:%M} UTC"
    return Hold(HoldReason.MUTED, name, until_us, detail)

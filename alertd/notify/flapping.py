"""Flapping: a series of incidents that changes state so often that nobody can follow.

A series is the incidents of one rule and group; it changes state when one fires and when it ends.
Owns the changes of each series that count, and the decision when it begins to flap and for how
long. From the change that is one too many on, it is told once that the series flaps; what follows
waits until there has been no change for a while. Then what holds is told: what still fires, and
the end of what somebody was told had begun.

Changes are counted by event time, so a day of history sent at once is not taken for a day's
changes in a second. How long it has been quiet goes by the clock: by when changes were found.

Invariant: a change counts once, however often it is noted, so a replay is harmless. Cost: a change
is put at its place among at most ``changes`` others. Leaves to ``store/flapping.py`` what must
survive a restart.
"""

from __future__ import annotations

import uuid
from bisect import insort
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import Struct, structs

from alertd.channels.wording import duration_text
from alertd.model import NAMESPACE, US_PER_S, Incident, IncidentSeries, Transition, TransitionKind
from alertd.outbound import FlappingEpisode, Hold, HoldReason

MAX_SERIES: Final = 100_000
"""Whose changes are remembered, some 500 bytes each; the one that changed longest ago goes first,
and counts anew."""

MAX_EPISODES: Final = 10_000
"""Series that flap at a time. One more is told each of its changes until another is stable."""


class FlappingLimits(Struct, frozen=True, kw_only=True):
    """When a series flaps, and when no longer."""

    changes: int = 20
    """More than so many within ``within_us``; 0: never."""
    within_us: int = 600 * US_PER_S
    stable_us: int = 600 * US_PER_S
    """How long after the last change it counts as stable."""


class Change(NamedTuple):
    """A series changed its state."""

    at_us: int
    """Event time."""
    incident_id: str
    kind: str


class FlappingReason(StrEnum):
    """Where a series stands after a change."""

    STEADY = "it does not change too often"
    BEGINS = "it has changed state too often"
    GOES_ON = "it has not been stable for long enough"


def judge(
    times_us: Sequence[int], episode: FlappingEpisode | None, now_us: int, limits: FlappingLimits
) -> FlappingReason:
    """Return where a series stands that has changed just now.

    ``times_us`` are its changes in order, ``episode`` is how it flapped last, if it ever did.
    """
    if episode is not None and now_us < episode.stable_us:
        return FlappingReason.GOES_ON
    if not limits.changes or len(times_us) <= limits.changes:
        return FlappingReason.STEADY
    if times_us[-1] - times_us[-1 - limits.changes] >= limits.within_us:
        return FlappingReason.STEADY
    return FlappingReason.BEGINS


class Flapping:
    """The series that have changed lately, and those that flap."""

    def __init__(self, limits: FlappingLimits = FlappingLimits()) -> None:  # noqa: B008  # immutable
        self.limits = limits
        """May be replaced; what flaps already goes on until it is stable, or nothing is to flap."""
        self._changes: OrderedDict[IncidentSeries, list[Change]] = OrderedDict()
        """Of each series the newest that can count, in order; the last series changed last."""
        self._episodes: dict[IncidentSeries, FlappingEpisode] = {}
        self._full_until_us = 0
        """When there are ``MAX_EPISODES``, none of them is stable before."""

    def load(self, incidents: Iterable[Incident], episodes: Iterable[FlappingEpisode]) -> None:
        """Take up what a store remembers: incidents, the longest known first, and episodes."""
        for incident in incidents:
            for change in changes_of(incident):
                self._remember(incident.series, change)
        newest = sorted(episodes, key=lambda episode: episode.stable_us)[-MAX_EPISODES:]
        self._episodes.update((episode.series, episode) for episode in newest)

    def note(self, transition: Transition) -> FlappingEpisode | None:
        """Take notice of a transition; return how its series flaps now, None if it does not."""
        incident, now_us = transition.incident, transition.detected_us
        if incident is None or transition.kind not in _CHANGES:
            return None
        change, series = changes_of(incident)[-1], incident.series
        episode = self.episode(series, now_us)
        if episode is None:
            self._forget(series)
        if self._remember(series, change):
            times_us = [each.at_us for each in self._changes[series]]
            match judge(times_us, episode, now_us, self.limits):
                case FlappingReason.BEGINS if self._has_room(now_us):
                    episode = self._episodes[series] = self._begun(series, change, now_us)
                case FlappingReason.GOES_ON if episode is not None:
                    episode = self._episodes[series] = structs.replace(
                        episode,
                        changes=episode.changes + 1,
                        last_us=max(episode.last_us, change.at_us),
                        stable_us=max(episode.stable_us, now_us + self.limits.stable_us),
                    )
        return episode

    def _has_room(self, now_us: int) -> bool:
        """Return whether one more may flap. O(episodes), at the bound and when one is stable."""
        if len(self._episodes) >= MAX_EPISODES and now_us >= self._full_until_us:
            on = self.episodes(now_us)
            self._full_until_us = min((episode.stable_us for episode in on), default=0)
        return len(self._episodes) < MAX_EPISODES

    def _begun(self, series: IncidentSeries, change: Change, now_us: int) -> FlappingEpisode:
        identity = f"flapping\x1d{change.incident_id}\x1d{change.kind}"
        return FlappingEpisode(
            id=str(uuid.uuid5(NAMESPACE, identity)),
            series=series,
            since_us=now_us,
            changes=self.limits.changes + 1,
            last_us=self._changes[series][-1].at_us,
            stable_us=now_us + self.limits.stable_us,
        )

    def _remember(self, series: IncidentSeries, change: Change) -> bool:
        """Return whether ``change`` is new."""
        if not self.limits.changes:
            return False
        changes = self._changes.setdefault(series, [])
        if change in changes:
            return False
        insort(changes, change)
        del changes[: -1 - self.limits.changes]
        self._changes.move_to_end(series)
        while len(self._changes) > MAX_SERIES:
            self._changes.popitem(last=False)
        return True

    def _forget(self, series: IncidentSeries) -> None:
        """Forget an episode that is over: what it was made of does not count again."""
        over = self._episodes.pop(series, None)
        if over is not None and series in self._changes:
            changes = self._changes[series]
            changes[:] = [change for change in changes if change.at_us > over.last_us]

    def episode(self, series: IncidentSeries, now_us: int) -> FlappingEpisode | None:
        """Return how ``series`` flaps now, None if it does not."""
        episode = self._episodes.get(series)
        if episode is None or now_us >= episode.stable_us or not self.limits.changes:
            return None
        return episode

    def episodes(self, now_us: int) -> list[FlappingEpisode]:
        """Return what flaps now; what has become stable is forgotten."""
        for series in [key for key in self._episodes if self.episode(key, now_us) is None]:
            self._forget(series)
        return list(self._episodes.values())

    def hold(self, series: IncidentSeries, now_us: int) -> Hold | None:
        """Return what holds notifications of ``series`` back now, None if nothing does."""
        episode = self.episode(series, now_us)
        return None if episode is None else self.hold_of(episode)

    def hold_of(self, episode: FlappingEpisode) -> Hold:
        """Return what ``episode`` does to notifications."""
        limits = self.limits
        within, stable = (
            duration_text(span_us / US_PER_S) for span_us in (limits.within_us, limits.stable_us)
        )
        detail = (
            f"it changed its state more than {limits.changes} times within {within}; "
            f"nothing more is told until it has not changed for {stable}"
        )
        return Hold(HoldReason.FLAPPING, episode.id, episode.stable_us, detail)


def changes_of(incident: Incident) -> list[Change]:
    """Return what ``incident`` has changed so far."""
    changes = [Change(incident.fired_us, incident.id, TransitionKind.FIRING.value)]
    if incident.ended_us is not None:
        changes.append(Change(incident.ended_us, incident.id, TransitionKind.RESOLVED.value))
    return changes


_CHANGES: Final = frozenset({TransitionKind.FIRING, TransitionKind.RESOLVED})

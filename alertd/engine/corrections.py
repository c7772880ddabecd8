"""What to make of breach intervals that late data has changed (SEMANTICS, section 6).

Owns one pure decision: given the incidents that people were told of and the intervals that the
data now shows, which incidents are new, extended, merged, continued or over. Matching is by
overlap, never by id. Nothing that was told is ever taken back: an incident only grows, until it
ends. The engine uses this within the allowed lateness, the reconciler behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from alertd.engine.past import Found, Interval
from alertd.model import EndReason, Incident


class New(NamedTuple):
    """An interval that touches no incident; ``continues`` names the ended one it goes on from."""

    found: Found
    continues: Incident | None = None


class Grown(NamedTuple):
    """An incident that is longer than was told; told silently. Its state is as it was."""

    incident: Incident
    started_us: int
    ended_us: int | None
    merged_into: str | None = None


class Over(NamedTuple):
    """An open incident that does not hold at the horizon any more."""

    incident: Incident
    started_us: int
    ended_us: int
    reason: EndReason


Correction = New | Grown | Over


def correct(
    told: Sequence[Incident],
    passed: Sequence[Interval],
    found: Sequence[Found],
    still_holds: bool,
    reason_if_gone: EndReason,
    covered_us: int,
) -> list[Correction]:
    """Return what has to change so that ``told`` and ``passed`` cover ``found``.

    All are in order of time; at most the last told and the last found are open. What lies
    within one of ``passed`` is nobody's news. ``still_holds`` says whether there is a breach at the
    horizon; ``reason_if_gone`` is why an open incident ends of which nothing is left, and
    ``covered_us`` up to where it was right about what is too long ago to be among ``found``.

    O(told + found) besides what is joined.
    """
    corrections: list[Correction] = []
    grown: dict[str, Grown] = {}
    ahead = deque(told)
    near: list[Incident] = []
    for interval in found:
        while ahead and _begins_in_time(ahead[0], interval):
            near.append(ahead.popleft())
        touched = near = [incident for incident in near if _ends_in_time(incident, interval)]
        if not touched:
            if not any(_lies_within(interval, each) for each in passed):
                corrections.append(New(interval))
            continue
        _grow(touched, interval, grown)
        if interval.ended_us is None and touched[-1].ended_us is not None:
            corrections.append(New(interval, continues=touched[-1]))
    for incident in told:
        longer = grown.get(incident.id, _as_told(incident))
        if incident.ended_us is None and not still_holds:
            corrections.append(_over(longer, found, reason_if_gone, covered_us))
        elif longer != _as_told(incident):
            corrections.append(longer)
    return corrections


def _as_told(incident: Incident) -> Grown:
    return Grown(incident, incident.started_us, incident.ended_us, incident.merged_into)


def _touch(incident: Incident, interval: Found) -> bool:
    return _begins_in_time(incident, interval) and _ends_in_time(incident, interval)


def _begins_in_time(incident: Incident, interval: Found) -> bool:
    return interval.ended_us is None or incident.started_us <= interval.ended_us


def _ends_in_time(incident: Incident, interval: Found) -> bool:
    return incident.ended_us is None or interval.started_us <= incident.ended_us


def _lies_within(interval: Found, passed: Interval) -> bool:
    start_us, end_us = passed
    is_over = interval.ended_us is not None and interval.ended_us <= end_us
    return is_over and start_us <= interval.started_us


def _grow(touched: Sequence[Incident], interval: Found, grown: dict[str, Grown]) -> None:
    """Let the first incident that ``interval`` touches take it in; the others are joined to it."""
    first, others = touched[0], touched[1:]
    known = grown.get(first.id, _as_told(first))
    ended_us = known.ended_us
    if ended_us is not None:
        ended_us = max([ended_us, *_ends(interval, others)])
    grown[first.id] = known._replace(
        started_us=min(known.started_us, interval.started_us), ended_us=ended_us
    )
    for other in others:
        if other.continues != first.id:
            known = grown.get(other.id, _as_told(other))
            grown[other.id] = known._replace(merged_into=first.id)


def _ends(interval: Found, others: Sequence[Incident]) -> list[int]:
    """Return up to where an ended incident grows: not beyond one that goes on from there."""
    if interval.ended_us is not None:
        return [interval.ended_us]
    return [other.started_us for other in others]


def _over(grown: Grown, found: Sequence[Found], reason_if_gone: EndReason, covered_us: int) -> Over:
    """Return how an open incident ends: with the last interval that touches it."""
    incident = grown.incident
    ended_us, reason = max(covered_us, incident.fired_us), reason_if_gone
    for interval in reversed(found):
        if _touch(incident, interval) and interval.ended_us is not None:
            ended_us, reason = max(interval.ended_us, ended_us), interval.reason or reason_if_gone
            break
    return Over(incident, grown.started_us, ended_us, reason)

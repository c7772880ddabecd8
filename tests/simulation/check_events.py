"""What must be true of events, raw or rolled up, of what is forgotten, and of the rules."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from alertd.model import US_PER_S, EventBatch
from alertd.rules import RuleChange, Source
from alertd.store.rollup import MINUTE_US
from tests.simulation.chronicle import IncidentRow
from tests.simulation.lives import KEPT_S, QUARANTINED_S
from tests.simulation.plan import LONGEST_REACH_S
from tests.simulation.remains import Checker, Remains, SumName
from tests.simulation.story import EventName, Story

KEPT_US: Final = KEPT_S * US_PER_S
SLACK_S: Final = 12
"""How much later than it may at the earliest everything is forgotten: it is looked at so often."""


def stored_events(remains: Remains) -> Counter[EventName]:
    """Return how often each event is in the log."""
    hosts = [dict(series.labels).get("host", "") for series in remains.series]
    return Counter(
        (hosts[series_id], time_us)
        for entry in remains.log
        if isinstance(entry.body, EventBatch)
        for series_id, time_us in zip(entry.body.series_ids, entry.body.times_us, strict=True)
    )


def nothing_acknowledged_is_lost(story: Story, remains: Remains) -> Iterator[str]:
    stored = stored_events(remains)
    for request in story.requests:
        for name in sorted(request.acknowledged):
            if not stored[name]:
                yield f"event {name} of request {request.number} was acknowledged and is lost"


def nothing_is_stored_twice(story: Story, remains: Remains) -> Iterator[str]:
    stored, known = stored_events(remains), set[EventName]()
    for request in story.requests:
        most = 1 if request.key is not None else len(request.answers) + request.unanswered
        for name, event in request.events:
            if event.is_bad:
                continue
            known.add(name)
            if stored[name] > (1 if event.has_id else most):
                yield f"event {name} of request {request.number} is stored {stored[name]} times"
    for name in stored:
        if name not in known:
            yield f"event {name} is stored and was never sent, or should have been refused"


def only_what_is_wrong_is_refused(story: Story, remains: Remains) -> Iterator[str]:
    """An event from the future always is, one that is old where old ones are not kept."""
    for request in story.requests:
        for answer in request.answers:
            for place, (name, event) in enumerate(request.events):
                is_old = story.plan.forgets and answer.at_us - name[1] > KEPT_US
                if event.is_bad and place not in answer.refused:
                    yield f"event {name} of request {request.number} is from the future, and taken"
                elif place in answer.refused and not event.is_bad and not is_old:
                    yield f"event {name} of request {request.number} was refused: {answer.error}"


def each_event_counts_once(story: Story, remains: Remains) -> Iterator[str]:
    """Raw or rolled up: the sums by minute are those of all events that ever were in the log."""
    values = defaultdict[SumName, list[float]](list)
    for entry in remains.log:
        if isinstance(entry.body, EventBatch):
            columns = (entry.body.series_ids, entry.body.times_us, entry.body.values)
            for number, time_us, value in zip(*columns, strict=True):
                values[number, time_us // MINUTE_US * MINUTE_US].append(value)
    for name in sorted(values.keys() | remains.sums.keys()):
        each, told = values[name], remains.sums.get(name)
        if told is None or not each:
            yield f"the sum of {name} is {told}, and {len(each)} events are known"
        elif told[:2] + told[3:] != (len(each), math.fsum(each), min(each), max(each)):
            yield f"the sum of {name} is {told}, and it is of {sorted(each)}"


def only_what_is_old_is_forgotten(story: Story, remains: Remains) -> Iterator[str]:
    oldest_us = remains.now_us - (KEPT_US if story.plan.forgets else remains.now_us)
    for row in remains.incidents:
        is_old = row.ended_us is not None and max(row.ended_us, row.detected_us) < oldest_us
        if row.id not in remains.held.incidents and not is_old:
            yield f"{row} is forgotten"
    for told in remains.notifications:
        if told.incident_id in remains.held.incidents and told.id not in remains.held.notifications:
            yield f"{told} is forgotten, and its incident is not"


def what_is_old_is_forgotten(story: Story, remains: Remains) -> Iterator[str]:
    if not story.plan.forgets:
        return
    slack_us = round((SLACK_S + LONGEST_REACH_S) * US_PER_S)
    gone_by_us = remains.now_us - KEPT_US - slack_us
    for row in remains.held.incidents.values():
        last_us = max(row.detected_us, row.ended_us or remains.now_us)
        if last_us < gone_by_us and not _is_to_be_told(row, remains):
            yield f"{row} is not forgotten"
    gone_by_us = remains.now_us - (QUARANTINED_S + SLACK_S) * US_PER_S
    for received_us in remains.refused_us:
        if received_us < gone_by_us:
            yield f"an event refused at {received_us} is not forgotten"


def _is_to_be_told(incident: IncidentRow, remains: Remains) -> bool:
    return any(
        row.incident_id == incident.id
        and (row.status == "RETRY_PENDING" or (row.status is None and row.look_us is not None))
        for row in remains.held.notifications.values()
    )


def positions_have_no_gaps_and_time_goes_forward(story: Story, remains: Remains) -> Iterator[str]:
    received_us = 0
    for place, entry in enumerate(remains.log, start=1):
        at_us = entry.body.at_us if isinstance(entry.body, RuleChange) else entry.body.received_us
        if entry.position != place:
            yield f"log entry {place} has the position {entry.position}"
        if at_us < received_us:
            yield f"log entry {place} was received before the one in front of it"
        received_us = at_us


def the_rules_of_files_are_those_of_the_files(story: Story, remains: Remains) -> Iterator[str]:
    filed = {spec.name: spec for spec in story.filed}
    found = {
        record.spec.name: record.spec for record in remains.rules if record.source is Source.TOML
    }
    if found != filed:
        yield f"the rules of files are {found}, and the files have {filed}"


CHECKS: Final[tuple[Checker, ...]] = (
    nothing_acknowledged_is_lost,
    nothing_is_stored_twice,
    only_what_is_wrong_is_refused,
    each_event_counts_once,
    only_what_is_old_is_forgotten,
    what_is_old_is_forgotten,
    positions_have_no_gaps_and_time_goes_forward,
    the_rules_of_files_are_those_of_the_files,
)

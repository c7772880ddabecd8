"""What must be true of what is told: everything, once, in order, and only what is not held back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from operator import attrgetter
from typing import Final

from alertd.channels.message import IncidentView
from alertd.channels.protocol import Delivered, Retryable
from alertd.model import US_PER_S
from tests.simulation.chronicle import IncidentRow, NotificationRow
from tests.simulation.plan import Crash, FailDisk, FillDisk
from tests.simulation.receivers import NAMES, PLACES, Attempt
from tests.simulation.remains import Checker, Remains, fixed_rules
from tests.simulation.story import Story

_FRESH_US: Final = 12 * US_PER_S
"""What was made so lately may be on its way still."""


def everybody_was_told(story: Story, remains: Remains) -> Iterator[str]:
    """Every notification was sent, or laid to rest for a reason; nothing was sent that is none."""
    arrived = Counter(d.message.idempotency_key for d in story.deliveries)
    incidents = {row.id: row for row in remains.incidents}
    for row in remains.notifications:
        if row.id not in remains.held.notifications:
            if row.status == "RETRY_PENDING" and not _was_heard(row, story):
                yield f"notification {row} is forgotten, and was never sent"
        elif row.status is None:
            yield from _held_rightly(row, incidents[row.incident_id], story, remains)
        elif row.status == "RETRY_PENDING" and not _is_fresh(row, story, remains):
            yield f"notification {row} is still to be sent"
        elif row.status == "SUCCESS" and (row.key is None or not arrived[row.key]):
            yield f"notification {row} is recorded as sent and never arrived"
    for key in sorted(arrived.keys() - {row.key for row in remains.notifications}):
        yield f"something was told that is not recorded: {key}"


def _held_rightly(
    row: NotificationRow, incident: IncidentRow, story: Story, remains: Remains
) -> Iterator[str]:
    """Nothing holds back any more when all has settled; so it was never to be told."""
    if row.look_us is not None:
        yield f"notification {row} is still held back"
    elif row.kind == "resolved":
        begun = [
            other
            for other in remains.notifications
            if (other.incident_id, other.channel) == (row.incident_id, row.channel)
            and other.kind != "resolved"
        ]
        if any(other.status == "SUCCESS" and other.kind == "firing" for other in begun):
            yield f"notification {row} was never sent, and that it began was"
    elif incident.ended_us is None and incident.id not in story.acknowledged:
        yield f"notification {row} was never sent, and it is still on"


def _was_heard(row: NotificationRow, story: Story) -> bool:
    """Whether its receiver has taken it, or has refused it for good."""
    states = {"resolved"} if row.kind == "resolved" else {"firing"}
    if row.kind == "flapping":
        states = {"firing", "resolved"}
    return any(
        delivery.channel == row.channel and view.id == row.incident_id and view.state in states
        for delivery in (*story.deliveries, *story.refusals)
        for view in delivery.message.incidents
    )


def _is_fresh(row: NotificationRow, story: Story, remains: Remains) -> bool:
    """Whether it was made so lately that it may be on its way, or gather with its group."""
    gathering_us = round((story.plan.group_interval_s + 1) * US_PER_S)
    fresh_us = _FRESH_US if row.kind == "repeat" else gathering_us
    return row.created_us > remains.now_us - fresh_us


def a_key_stands_for_one_content(story: Story, remains: Remains) -> Iterator[str]:
    """When it is sent again, it tells nothing else; and nothing is told under two keys."""
    contents: dict[str, set[tuple[str, str]]] = {}
    keys: dict[tuple[str, str, str], str] = {}
    for delivery in story.deliveries:
        key = delivery.message.idempotency_key
        content = {(view.id, _what(view)) for view in delivery.message.incidents}
        first = contents.setdefault(key, content)
        if content != first:
            yield f"message {key} told {first} and then {content}"
        for what in sorted(content):
            known = keys.setdefault((delivery.channel, *what), key)
            if known != key and not (story.plan.repeat_s or story.requeued):
                yield f"{what} was told under {known} and {key}"


def _what(view: IncidentView) -> str:
    """Return what is told of an incident: that it fires, or has ended, or that its series flaps."""
    return "flapping" if "changed its state more than" in view.message else view.state


def what_flaps_is_told_to_flap(story: Story, remains: Remains) -> Iterator[str]:
    """Where nothing is held back for it without that; a silence may be the first to do so."""
    if story.hushed:
        return
    series = {row.id: (row.rule_id, row.group) for row in remains.incidents}
    told = {
        (*series[row.incident_id], row.channel)
        for row in remains.notifications
        if row.kind == "flapping" and row.status is not None
    }
    for row in remains.notifications:
        if row.held_by == "flapping" and (*series[row.incident_id], row.channel) not in told:
            yield f"{row} is held back, and nobody was told that it flaps"


def only_what_ended_untold_collapses(story: Story, remains: Remains) -> Iterator[str]:
    ended = {row.id for row in remains.incidents if row.ended_us is not None}
    for row in remains.notifications:
        if row.id in remains.collapsed and not (story.plan.collapses and row.incident_id in ended):
            yield f"notification {row} was moved to the message of an end"


def a_silence_is_kept(story: Story, remains: Remains) -> Iterator[str]:
    """What begins while it certainly holds is not told before it ends."""
    begun = {row.id: row for row in remains.incidents}
    created = {
        (row.incident_id, row.channel): row.created_us
        for row in remains.notifications
        if row.kind == "firing"
    }
    for delivery in story.deliveries:
        for view in delivery.message.incidents:
            created_us = created.get((view.id, delivery.channel))
            if view.state != "firing" or created_us is None:
                continue
            for hushed in story.hushed:
                is_meant = hushed.host in (None, dict(begun[view.id].group).get("host"))
                if is_meant and hushed.begins_us < created_us <= delivery.at_us < hushed.ends_us:
                    yield f"{view.id} was told to {delivery.channel} during the silence {hushed}"


def what_is_acknowledged_is_not_repeated(story: Story, remains: Remains) -> Iterator[str]:
    for row in remains.notifications:
        acked_us = story.acknowledged.get(row.incident_id)
        if row.kind == "repeat" and acked_us is not None and row.created_us > acked_us:
            yield f"{row} repeats what was acknowledged at {acked_us}"


def what_goes_on_is_repeated(story: Story, remains: Remains) -> Iterator[str]:
    """If it was told at all, and there was time for it."""
    if not story.plan.repeat_s:
        return
    incidents = {row.id: row for row in remains.incidents}
    repeated = {
        (row.incident_id, row.channel) for row in remains.notifications if row.kind == "repeat"
    }
    latest_us = remains.now_us - round(story.plan.repeat_s * US_PER_S) - _FRESH_US
    for row in remains.notifications:
        incident = incidents[row.incident_id]
        is_on = incident.ended_us is None and incident.id not in story.acknowledged
        is_told = row.kind == "firing" and row.channel == NAMES[0] and row.status == "SUCCESS"
        is_due = row.created_us < latest_us and (row.incident_id, row.channel) not in repeated
        if is_on and is_told and is_due:
            yield f"{row} was never repeated"


def nobody_is_told_twice_without_a_reason(story: Story, remains: Remains) -> Iterator[str]:
    arrived = Counter(d.message.idempotency_key for d in story.deliveries)
    repeats = sum(count - 1 for count in arrived.values())
    # Of each crash at most those that were under way: two receivers with two places each.
    allowed = story.repeats_allowed + story.crashes * 4 + (story.lives - 1) * 4
    if story.lives == 1:
        allowed = story.repeats_allowed
    if repeats > allowed:
        yield f"{repeats} messages were sent again, and only {allowed} may have been"


def every_incident_is_told(story: Story, remains: Remains) -> Iterator[str]:
    """Of each incident of a rule that nobody edited, beginning and end, to each of its channels.

    One that a reconciliation took for part of another, before a crash, is told as that one.
    """
    told = Counter((row.incident_id, row.kind, row.channel) for row in remains.notifications)
    routed = {NAMES[0]} if story.plan.repeat_s else set[str]()
    targets = {
        rule.id: {target.channel for target in rule.targets} | routed
        for rule, _ in fixed_rules(story, remains)
    }
    for row in remains.incidents:
        for channel in targets.get(row.rule_id, ()):
            kinds = ["firing"] if row.ended_us is None else ["firing", "resolved"]
            if row.merged_into is not None and not told[row.id, "firing", channel]:
                kinds = []
            for kind in kinds:
                count = told[row.id, kind, channel]
                is_told_again = kind == "resolved" and count and story.requeued
                if count != 1 and not is_told_again:
                    yield f"{kind} of {row} has {count} notifications to {channel}"


def nobody_hears_of_an_end_before_the_beginning(story: Story, remains: Remains) -> Iterator[str]:
    """That a series flaps is told in place of a beginning.

    One that was given up may be requeued behind the end, which is told again then.
    """
    failed = {
        (row.incident_id, row.channel)
        for row in remains.notifications
        if row.status == "FAILED" or row.key in story.requeued
    }
    series = {row.id: (row.rule_id, row.group) for row in remains.incidents}
    flapped = {
        (series[row.incident_id], row.channel)
        for row in remains.notifications
        if row.kind == "flapping"
    }
    begun = set[tuple[str, str]]()
    for delivery in story.deliveries:
        for view in delivery.message.incidents:
            key = (view.id, delivery.channel)
            if view.state == "firing":
                begun.add(key)
            elif key not in begun | failed and (series[view.id], delivery.channel) not in flapped:
                yield f"{delivery.channel} heard of the end of {view.id} before its beginning"


def the_end_is_the_last_word(story: Story, remains: Remains) -> Iterator[str]:
    """Whatever was sent again, or late: nobody takes for on what they were told is over."""
    last: dict[tuple[str, str], bool] = {}
    for delivery in story.deliveries:
        views = delivery.message.incidents
        ended = {view.id for view in views if view.state == "resolved"}
        for view in views:
            heard = last.get((view.id, delivery.channel))
            is_over = view.id in ended
            if heard is not None or is_over:
                last[view.id, delivery.channel] = is_over
    for (incident_id, channel), is_over in last.items():
        if not is_over:
            yield f"{channel} heard that {incident_id} is over, and then that it is on"


def a_receiver_that_is_back_gets_at_once_what_it_refused(
    story: Story, remains: Remains
) -> Iterator[str]:
    """It has no place left for long while something waits that it refused, once, before a success.

    Only where the disk does as it is told: till an outcome is recorded, nothing follows from it.
    What was tried under another key, before a part of it collapsed, may have been hurried then.
    """
    if any(isinstance(step, FailDisk | FillDisk | Crash) for _, step in story.plan.steps):
        return
    tried = Counter(each.key for each in story.attempts)
    known = {row.key for row in remains.notifications if row.key and row.attempts == tried[row.key]}
    for channel in NAMES:
        for first, again in _retried_first(story, channel):
            if first.key not in known:
                continue
            taken_us = min(
                (
                    each.ended_us
                    for each in story.attempts
                    if each.channel == channel
                    and isinstance(each.outcome, Delivered)
                    and first.ended_us < each.ended_us < again.begun_us
                ),
                default=again.begun_us,
            )
            idle_us = _idle_us(story, channel, taken_us, again.begun_us)
            if idle_us > US_PER_S:
                yield f"{channel} had room for {idle_us} us and was not told again: {first}"


def _retried_first(story: Story, channel: str) -> Iterator[tuple[Attempt, Attempt]]:
    """Yield the first attempt and the second of each message that had both in one life."""
    first: dict[str, Attempt] = {}
    seen = set[str]()
    for each in sorted(
        (one for one in story.attempts if one.channel == channel),
        key=attrgetter("life", "begun_us"),
    ):
        before = first.pop(each.key, None)
        if before is not None and before.life == each.life:
            yield before, each
        if each.key not in seen:
            seen.add(each.key)
            if isinstance(each.outcome, Retryable):
                first[each.key] = each


def _idle_us(story: Story, channel: str, from_us: int, until_us: int) -> int:
    """Return for how long a receiver had a place left, between two instants."""
    changes = sorted(
        (at_us, change)
        for each in story.attempts
        if each.channel == channel
        for at_us, change in ((each.begun_us, 1), (each.ended_us, -1))
    )
    idle_us, since_us, under_way = 0, from_us, 0
    for at_us, change in (*changes, (until_us, 0)):
        now_us = min(max(at_us, from_us), until_us)
        if under_way < PLACES:
            idle_us += now_us - since_us
        since_us = now_us
        under_way += change
    return idle_us


def bounds_are_kept(story: Story, remains: Remains) -> Iterator[str]:
    if story.most_under_way > PLACES:
        yield f"{story.most_under_way} attempts were under way to one receiver"


CHECKS: Final[tuple[Checker, ...]] = (
    everybody_was_told,
    a_key_stands_for_one_content,
    what_flaps_is_told_to_flap,
    only_what_ended_untold_collapses,
    a_silence_is_kept,
    what_is_acknowledged_is_not_repeated,
    what_goes_on_is_repeated,
    every_incident_is_told,
    nobody_is_told_twice_without_a_reason,
    nobody_hears_of_an_end_before_the_beginning,
    the_end_is_the_last_word,
    a_receiver_that_is_back_gets_at_once_what_it_refused,
    bounds_are_kept,
)

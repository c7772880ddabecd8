"""Two features at a time, in an order in which one of them could undo the other.

On a real store, with the clock in the test's hands.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from msgspec import structs

from alertd.config.settings import Config
from alertd.model import Target
from alertd.notify.flapping import FlappingLimits
from alertd.notify.settings import MuteSpec, RouteSpec
from alertd.outbound import Announcement, DeliveryStatus, Outgoing
from alertd.pipeline.evaluator import announced
from alertd.rules import compile_rule
from tests.unit.delivery.desk import OPS, Desk, S, begin, desk, end, id_of, rule
from tests.unit.store.store_samples import settlement

ESCALATE = Config(
    route=(RouteSpec(channels=("ops",), escalate_after_secs=900, escalate_to=("boss",)),)
)
ALWAYS = Config(mute=(MuteSpec(name="always", start="00:00", end="24:00"),))


async def give_up(at: Desk) -> list[Outgoing]:
    """Have all that is due refused for good."""
    given_up: list[Outgoing] = []
    while found := await at.store.outbox.claim(at.now_us, limit=100):
        given_up += found
        await at.store.outbox.settle(
            [settlement(one, DeliveryStatus.FAILED, at_us=at.now_us) for one in found]
        )
    return given_up


async def test_a_beginning_that_is_requeued_brings_the_end_that_was_given_up_too(
    tmp_path: Path,
) -> None:
    begun = begin()
    async with desk(tmp_path) as at:
        await at.tell(begun)
        [first] = await give_up(at)
        at.at(60)
        await at.tell(end(begun))
        [last] = await give_up(at)
        at.at(120)
        await at.notifier.requeue(first.id)
        assert await at.deliver() == ["firing", "resolved"]
        assert [one.id for one in at.sent] == [first.id, last.id], "each under its own key"


async def test_a_beginning_that_is_requeued_brings_the_end_for_whom_nothing_names_any_more(
    tmp_path: Path,
) -> None:
    begun = begin()
    async with desk(tmp_path) as at:
        await at.tell(begun)
        [first] = await give_up(at)
        edited = compile_rule(rule(notifications=()))
        at.at(60)
        await at.tell(structs.replace(end(begun), rule=edited))
        assert await at.deliver() == []
        at.at(120)
        await at.notifier.requeue(first.id)
        assert await at.deliver() == ["firing", "resolved"]


async def test_an_escalation_that_is_acknowledged_while_it_is_decided_rings_nowhere(
    tmp_path: Path,
) -> None:
    begun = begin()
    async with desk(tmp_path, ESCALATE) as at:
        await at.tell(begun)
        assert await at.deliver() == ["firing"]
        at.at(900)
        at.while_it_is_decided(partial(at.notifier.acknowledge, id_of(begun), "ann"))
        assert await at.deliver() == []
        at.at(6000)
        assert await at.deliver() == []


async def worded(at: Desk) -> list[Announcement]:
    """Return what is to be recorded of an incident, by what holds it back now."""
    return await announced([structs.replace(begin(), detected_us=at.now_us)], at.announcer)


async def is_told_once_recorded(at: Desk, announcements: list[Announcement]) -> None:
    """Record what was worded before that changed; it is told then."""
    assert await at.deliver() == []
    await at.store.incidents.record(announcements, applied=1)
    at.reminders.recorded()
    at.at(2)
    assert await at.deliver() == ["firing"]


async def test_a_silence_that_is_ended_while_an_incident_is_recorded_does_not_hold_it(
    tmp_path: Path,
) -> None:
    """What was put into words under the silence is recorded behind its end."""
    async with desk(tmp_path) as at:
        silence = await at.silence(86_400, service="payment")
        announcements = await worded(at)
        at.at(1)
        await at.notifier.expire_silence(silence.id)
        await is_told_once_recorded(at, announcements)


async def test_a_mute_that_is_taken_away_while_an_incident_is_recorded_does_not_hold_it(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, ALWAYS) as at:
        announcements = await worded(at)
        at.use(Config())
        await is_told_once_recorded(at, announcements)


async def test_a_silence_that_is_ended_while_what_it_holds_is_looked_at_lets_go(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as at:
        silence = await at.silence(86_400, service="payment")
        await at.tell(begin())
        at.reminders.look_again()
        at.while_it_is_decided(partial(at.notifier.expire_silence, silence.id))
        at.at(1)
        assert await at.deliver() == []
        at.at(2)
        assert await at.deliver() == ["firing"]


async def test_an_escalation_of_what_flapped_waits_from_when_the_first_was_told(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, ESCALATE) as at:
        at.announcer.policy.flapping.limits = FlappingLimits(changes=2, stable_us=600 * S)
        of = rule(notifications=(), repeat_interval_secs=0.0)
        for number in range(2):
            at.at(number * 20)
            begun = begin(number * 20 * S, of=of)
            await at.tell(begun)
            await at.deliver()
            if not number:
                at.at(10)
                await at.tell(end(begun, at_us=at.now_us))
                await at.deliver()
        at.sent.clear()
        at.at(620)
        assert await at.deliver() == ["firing"]
        assert [one.target for one in at.sent] == [OPS]
        at.at(620 + 899)
        assert await at.deliver() == []
        at.at(620 + 900)
        assert await at.deliver() == ["firing"]
        assert at.sent[-1].target == Target("boss")


async def test_silences_that_are_over_leave_room_for_others_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alertd.delivery.notifier.MAX_SILENCES", 1)
    async with desk(tmp_path) as at:
        await at.silence(60, service="payment")
        at.at(60)
        await at.silence(120, service="payment")


async def test_what_comes_after_a_reload_with_a_shorter_interval_does_not_wait_for_the_longer(
    tmp_path: Path,
) -> None:
    """It joins a message that gathers for the interval of before, which leaves earlier then."""
    long, short = (
        Config(route=(RouteSpec(channels=("ops",), group_interval_secs=interval_s),))
        for interval_s in (3600, 10)
    )
    of = rule(notifications=(), repeat_interval_secs=0.0)
    async with desk(tmp_path, long) as at:
        await at.tell(begin(0, of=of))
        assert await at.deliver() == ["firing"]
        at.at(5)
        await at.tell(begin(1, of=of))
        at.at(60)
        at.use(short)
        assert await at.deliver() == []
        await at.tell(begin(2, of=of))
        at.at(69)
        assert await at.deliver() == []
        at.at(70)
        assert await at.deliver() == ["firing", "firing"]
        assert len(at.sent) == 2
        at.at(75)
        await at.tell(begin(3, of=of))
        at.at(79)
        assert await at.deliver() == []
        at.at(80)
        assert await at.deliver() == ["firing"], "the interval counts from when it left"

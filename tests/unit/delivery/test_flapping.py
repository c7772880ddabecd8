"""A rule's group that changes too often is told as flapping, once, and then what holds.

On a real store, with the clock in the test's hands.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from alertd.channels.message import IncidentView
from alertd.config.settings import Config, NotifyConfig
from alertd.notify.settings import InhibitSpec, MuteSpec, RouteSpec
from tests.unit.delivery.desk import Desk, begin, desk, end, id_of, rule

NOTIFY = NotifyConfig(flapping_changes=4, flapping_within_secs=600, flapping_stable_secs=300)
FLAPS = Config(notify=NOTIFY)


async def flap(at: Desk, changes: int, *, start: int = 0, every_s: float = 10) -> list[str]:
    """Have the series fire, end, fire … ``changes`` times; return the kinds that were told."""
    told = []
    for number in range(start, start + changes):
        at.at(number * every_s)
        begun = begin(number // 2, at_us=at.now_us)
        await at.tell(end(begun, at_us=at.now_us) if number % 2 else begun)
        told += await at.deliver()
    return told


PAIR = ["firing", "resolved"]


async def test_it_is_reported_once_and_then_nothing_is_told_until_it_is_stable(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, FLAPS) as at:
        assert await flap(at, 20) == [*PAIR, *PAIR, "flapping"]
        at.at(190 + 299)
        assert await at.deliver() == []
        at.at(190 + 300)
        assert await at.deliver() == ["resolved"], "the end of what was told as flapping"
        at.at(10_000)
        assert await at.deliver() == []


async def test_what_still_fires_when_it_is_stable_is_told_then(tmp_path: Path) -> None:
    async with desk(tmp_path, FLAPS) as at:
        assert await flap(at, 21) == [*PAIR, *PAIR, "flapping"]
        at.at(200 + 300)
        assert sorted(await at.deliver()) == ["firing", "resolved"]
        last = begin(10)
        at.at(600)
        await at.tell(end(last, at_us=at.now_us))
        assert await at.deliver() == ["resolved"]


async def test_one_that_fires_on_after_it_was_reported_is_told_as_firing(tmp_path: Path) -> None:
    async with desk(tmp_path, FLAPS) as at:
        assert await flap(at, 5) == [*PAIR, *PAIR, "flapping"]
        at.at(40 + 300)
        assert await at.deliver() == ["firing"]


async def test_a_series_may_flap_again_and_is_reported_again(tmp_path: Path) -> None:
    async with desk(tmp_path, FLAPS) as at:
        assert await flap(at, 6) == [*PAIR, *PAIR, "flapping"]
        at.at(50 + 300)
        assert await at.deliver() == ["resolved"]
        assert await flap(at, 6, start=36) == [*PAIR, *PAIR, "flapping"], "it counts anew"


async def test_of_an_incident_that_is_found_when_it_is_over_the_beginning_is_reported(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, FLAPS) as at:
        assert await flap(at, 4) == PAIR * 2
        late = begin(2, at_us=at.now_us)
        await at.tell(late, end(late, at_us=at.now_us))
        assert await at.deliver() == ["flapping"]
        view = msgspec.json.decode(at.sent[-1].parts[0][1], type=IncidentView)
        assert view.state == "firing"
        at.at(400)
        assert await at.deliver() == ["resolved"]


async def test_other_series_are_told_as_ever(tmp_path: Path) -> None:
    async with desk(tmp_path, FLAPS) as at:
        await flap(at, 10)
        await at.tell(begin(of=rule("Another")))
        assert await at.deliver() == ["firing"]


async def test_the_timeline_and_the_report_say_what_happens(tmp_path: Path) -> None:
    async with desk(tmp_path, FLAPS) as at:
        await flap(at, 8)
        reported = await at.store.incidents.get(id_of(begin(2)))
        later = await at.store.incidents.get(id_of(begin(3)))
        assert reported is not None
        assert later is not None
        lines = [(line.what.value, line.detail) for line in later.timeline]
        held = (
            "ops: it changed its state more than 4 times within 10 min; "
            "nothing more is told until it has not changed for 5 min"
        )
        withheld = "ops: it ended before it could be told (flapping)"
        assert ("flapping", held) in lines
        assert ("withheld", withheld) in lines
        assert [item.kind for item in reported.item.notifications] == ["flapping"]
        view = msgspec.json.decode(at.sent[-1].parts[0][1], type=IncidentView)
        assert view.id == id_of(begin(2))
        assert view.message.endswith(held.removeprefix("ops: "))
        assert at.notifier.is_flapping(reported.item.incident.series)


@pytest.mark.parametrize("before", range(1, 9))
async def test_a_restart_anywhere_changes_nothing(tmp_path: Path, before: int) -> None:
    async with desk(tmp_path, FLAPS) as at:
        told = await flap(at, before)
    async with desk(tmp_path, FLAPS) as at:
        told += await flap(at, 10 - before, start=before)
    async with desk(tmp_path, FLAPS) as at:
        assert told == [*PAIR, *PAIR, "flapping"]
        at.at(389)
        assert await at.deliver() == []
        at.at(390)
        assert await at.deliver() == ["resolved"]


async def test_what_is_recorded_again_is_neither_counted_nor_told_again(tmp_path: Path) -> None:
    async with desk(tmp_path, FLAPS) as at:
        assert await flap(at, 3) == [*PAIR, "firing"]
        assert await flap(at, 3) == []
        assert await flap(at, 1, start=3) == ["resolved"]
        assert await flap(at, 1, start=4) == ["flapping"]
        assert await flap(at, 5) == []


async def test_under_a_silence_nothing_is_reported_until_it_is_over(tmp_path: Path) -> None:
    async with desk(tmp_path, FLAPS) as at:
        await at.silence(100, service="payment")
        assert await flap(at, 10) == []
        at.at(100)
        assert await at.deliver() == [], "what a silence lets go, flapping holds"
        assert await flap(at, 10, start=10) == ["flapping"]
        at.at(190 + 300)
        assert await at.deliver() == ["resolved"]


async def test_under_an_inhibition_or_a_mute_nothing_is_reported(tmp_path: Path) -> None:
    cause = rule("Payment is down")
    inhibit = InhibitSpec(source={"ruleName": "Payment is down"}, target={"ruleName": "=~High.*"})
    always = MuteSpec(name="always", start="00:00", end="24:00")
    for folder, config in (
        ("inhibited", Config(notify=NOTIFY, inhibit=(inhibit,))),
        ("muted", Config(notify=NOTIFY, mute=(always,))),
    ):
        async with desk(tmp_path / folder, config) as at:
            await at.tell(begin(of=cause))
            assert "flapping" not in await flap(at, 12)


async def test_an_acknowledged_incident_is_not_told_again_when_it_is_stable(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, FLAPS) as at:
        assert (await flap(at, 5))[-1] == "flapping"
        await at.notifier.acknowledge(id_of(begin(2)), "ann")
        at.at(1000)
        assert await at.deliver() == []
        await at.tell(end(begin(2), at_us=at.now_us))
        assert await at.deliver() == ["resolved"]


async def test_who_was_not_told_that_it_flaps_hears_of_no_end_after_an_acknowledgement(
    tmp_path: Path,
) -> None:
    """A silence held the report back, and after it there was nothing to report with."""
    async with desk(tmp_path, FLAPS) as at:
        silence = await at.silence(10_000, service="payment")
        assert await flap(at, 5) == []
        last = begin(2, at_us=at.now_us)
        await at.notifier.expire_silence(silence.id)
        assert await at.deliver() == []
        await at.notifier.acknowledge(id_of(last), "ann")
        assert await at.deliver() == []
        at.at(1000)
        await at.tell(end(last, at_us=at.now_us))
        assert await at.deliver() == []
        assert (await at.whats(id_of(last)))[-1] == "withheld"


async def test_repeats_begin_when_it_is_stable(tmp_path: Path) -> None:
    async with desk(tmp_path, FLAPS) as at:
        assert (await flap(at, 5))[-1] == "flapping"
        told = []
        for seconds in range(100, 2000, 20):
            at.at(seconds)
            told += [(seconds, kind) for kind in await at.deliver()]
        assert told == [(340, "firing"), (940, "repeat"), (1540, "repeat")]


async def test_nobody_is_bothered_by_escalation_of_what_flaps(tmp_path: Path) -> None:
    route = RouteSpec(
        channels=("ops",), group_interval_secs=0, escalate_after_secs=100, escalate_to=("boss",)
    )
    config = Config(notify=NOTIFY, route=(route,))
    async with desk(tmp_path, config) as at:
        assert await flap(at, 21) == [*PAIR, *PAIR, "flapping"]
        at.at(310)
        assert await at.deliver() == []
        at.at(500)
        assert sorted(await at.deliver()) == ["firing", "resolved"]
        at.at(600)
        assert await at.deliver() == ["firing"], "the boss as well"


async def test_where_it_is_turned_off_what_it_held_is_told(tmp_path: Path) -> None:
    async with desk(tmp_path, FLAPS) as at:
        assert (await flap(at, 7))[-1] == "flapping"
        at.use(Config(notify=NotifyConfig(flapping_changes=0)))
        assert sorted(await at.deliver()) == ["firing", "resolved"]


async def test_it_can_be_turned_off(tmp_path: Path) -> None:
    off = Config(notify=NotifyConfig(flapping_changes=0))
    async with desk(tmp_path, off) as at:
        assert await flap(at, 100, every_s=1) == PAIR * 50

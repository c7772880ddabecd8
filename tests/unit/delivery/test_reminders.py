"""What is held back is told when that is over, and what nobody acknowledges is told again.

On a real store, with the clock in the test's hands.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec import structs

from alertd.channels.config import WebhookConfig
from alertd.config.settings import Config
from alertd.delivery.reminders import GIVE_WAY_S, Reminders
from alertd.errors import Conflict, InvalidInput, NotFound
from alertd.model import Target, TransitionKind
from alertd.notify.policy import Policy
from alertd.notify.review import Verdict, Waiting
from alertd.notify.settings import InhibitSpec, MuteSpec, RouteSpec
from alertd.outbound import DeliveryStatus, Notification, Timing
from alertd.rules import compile_rule
from alertd.store import waiting
from alertd.store.silences import SilenceQuery
from alertd.store.waiting import Place
from tests.unit.delivery.desk import OPS, S, begin, desk, end, id_of, rule
from tests.unit.store.store_samples import START_US, settlement


async def test_what_still_fires_when_a_silence_ends_is_told_then(tmp_path: Path) -> None:
    begun = begin()
    async with desk(tmp_path) as at:
        await at.silence(60, service="payment")
        await at.tell(begun)
        assert await at.deliver() == []
        at.at(59)
        assert await at.deliver() == []
        at.at(60)
        assert await at.deliver() == ["firing"]
        assert await at.deliver() == []
        await at.tell(end(begun))
        assert await at.deliver() == ["resolved"]
        assert sorted(await at.whats(id_of(begun))) == [
            *("fired", "queued", "queued", "resolved", "sent", "sent", "silenced"),
        ]


async def test_what_ended_under_a_silence_is_never_told_and_the_timeline_says_why(
    tmp_path: Path,
) -> None:
    begun = begin()
    async with desk(tmp_path) as at:
        await at.silence(60, service="payment")
        await at.tell(begun)
        await at.tell(end(begun))
        at.at(1000)
        assert await at.deliver() == []
        detail = await at.store.incidents.get(id_of(begun))
        assert detail is not None
        lines = {entry.what.value: entry.detail for entry in detail.timeline}
        assert lines["silenced"].startswith("ops: silence ")
        assert lines["withheld"] == "ops: it ended before it could be told (silenced)"
        assert detail.item.status is DeliveryStatus.SUCCESS


async def test_the_end_of_what_was_told_before_a_silence_is_told_after_it(tmp_path: Path) -> None:
    begun = begin()
    async with desk(tmp_path) as at:
        await at.tell(begun)
        assert await at.deliver() == ["firing"]
        await at.silence(60, service="payment")
        await at.tell(end(begun))
        assert await at.deliver() == []
        at.at(60)
        assert await at.deliver() == ["resolved"]


async def test_a_silence_that_is_ended_early_lets_go_at_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        silence = await at.silence(3600, service="payment")
        await at.tell(begin())
        assert await at.deliver() == []
        at.at(5)
        ended = await at.notifier.expire_silence(silence.id)
        assert ended.ends_us == at.now_us
        assert await at.deliver() == ["firing"]
        with pytest.raises(NotFound):
            await at.notifier.expire_silence("unknown")


async def test_silences_and_what_they_hold_survive_a_restart(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.silence(60, service="payment")
        await at.tell(begin())
    async with desk(tmp_path) as at:
        assert await at.deliver() == []
        await at.tell(begin(1))
        assert await at.deliver() == []
        at.at(60)
        assert await at.deliver() == ["firing", "firing"]


async def test_what_one_silence_lets_go_another_may_hold(tmp_path: Path) -> None:
    begun = begin()
    async with desk(tmp_path) as at:
        first = await at.silence(60, service="payment")
        await at.tell(begun)
        await at.silence(90, ruleName="=~High.*")
        await at.notifier.expire_silence(first.id)
        assert await at.deliver() == []
        at.at(90)
        assert await at.deliver() == ["firing"]
        assert (await at.whats(id_of(begun))).count("silenced") == 1, "one a second and reason"


async def test_silences_that_ended_long_ago_are_forgotten(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.silence(60, service="payment")
        at.at(91 * 86_400)
        kept = await at.silence(92 * 86_400, service="payment")
        assert (await at.store.silences.page(SilenceQuery())).items == (kept,)


async def test_a_bad_silence_is_refused_and_not_kept(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        with pytest.raises(InvalidInput):
            await at.silence(-1, service="payment")
        assert (await at.store.silences.page(SilenceQuery())).items == ()


async def test_it_is_repeated_until_it_ends(tmp_path: Path) -> None:
    begun = begin()
    async with desk(tmp_path) as at:
        await at.tell(begun)
        told = []
        for seconds in range(0, 3001, 100):
            at.at(seconds)
            if seconds == 2000:
                await at.tell(end(begun))
            told += [(seconds, kind) for kind in await at.deliver()]
        assert told == [
            *[(0, "firing"), (600, "repeat"), (1200, "repeat"), (1800, "repeat")],
            (2000, "resolved"),
        ]
        assert begun.incident is not None
        detail = await at.store.incidents.get(begun.incident.id)
        assert detail is not None
        queued = [line.detail for line in detail.timeline if line.what.value == "queued"]
        assert ["told again" in line for line in queued] == [False, True, True, True, False]


async def test_an_acknowledged_incident_is_not_repeated_and_its_end_is_told(
    tmp_path: Path,
) -> None:
    begun = begin()
    async with desk(tmp_path) as at:
        await at.tell(begun)
        assert await at.deliver() == ["firing"]
        at.at(10)
        await at.notifier.acknowledge(id_of(begun), "ann")
        at.at(20)
        await at.notifier.acknowledge(id_of(begun), "bob")
        at.at(10_000)
        assert await at.deliver() == []
        detail = await at.store.incidents.get(id_of(begun))
        assert detail is not None
        assert (detail.item.acked_us, detail.item.acked_by) == (START_US + 10 * S, "ann")
        await at.tell(end(begun))
        assert await at.deliver() == ["resolved"]
        with pytest.raises(Conflict):
            await at.notifier.acknowledge(id_of(begun), "ann")
        with pytest.raises(NotFound):
            await at.notifier.acknowledge("unknown", "ann")


async def test_a_repeat_waits_for_the_end_of_a_silence(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.tell(begin())
        assert await at.deliver() == ["firing"]
        await at.silence(700, service="payment")
        at.at(650)
        assert await at.deliver() == []
        at.at(700)
        assert await at.deliver() == ["repeat"]


@pytest.mark.parametrize("is_over", [True, False])
async def test_what_ends_or_is_acknowledged_while_its_repeat_is_decided_is_not_repeated(
    tmp_path: Path, *, is_over: bool
) -> None:
    """Else its end would not be the last that is heard of it."""
    begun = begin()
    async with desk(tmp_path) as at:
        await at.tell(begun)
        assert await at.deliver() == ["firing"]
        at.at(600)
        at.while_it_is_decided(
            partial(at.tell, end(begun))
            if is_over
            else partial(at.notifier.acknowledge, id_of(begun), "ann")
        )
        assert await at.deliver() == (["resolved"] if is_over else [])
        at.at(6000)
        assert await at.deliver() == []


async def test_repeats_go_on_at_their_interval_when_what_held_them_back_is_over_early(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as at:
        await at.tell(begin())
        assert await at.deliver() == ["firing"]
        silence = await at.silence(30 * 86_400, service="payment")
        at.at(600)
        assert await at.deliver() == []
        await at.notifier.expire_silence(silence.id)
        at.at(1200)
        assert await at.deliver() == ["repeat"]
        at.use(ALWAYS)
        at.at(1800)
        assert await at.deliver() == []
        at.use(Config())
        at.at(2400)
        assert await at.deliver() == ["repeat"]


async def test_without_an_interval_nothing_is_repeated(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.tell(begin(of=rule(repeat_interval_secs=0.0)))
        assert await at.deliver() == ["firing"]
        at.at(100_000)
        assert await at.deliver() == []


INHIBIT = Config(
    inhibit=(
        InhibitSpec(
            source={"ruleName": "Payment is down"},
            target={"ruleName": "High Error Count"},
            equal=("service",),
        ),
    )
)


async def test_what_a_source_explains_is_told_when_the_source_has_ended_first(
    tmp_path: Path,
) -> None:
    cause_rule = rule("Payment is down")
    cause, effect = begin(of=cause_rule), begin(1)
    async with desk(tmp_path, INHIBIT) as at:
        await at.tell(cause)
        assert await at.deliver() == ["firing"]
        await at.tell(effect)
        at.at(30)
        assert await at.deliver() == []
        assert (await at.whats(id_of(effect))).count("inhibited") == 1
    async with desk(tmp_path, INHIBIT) as at:
        at.at(60)
        assert await at.deliver() == [], "a source that was on before the start still is one"
        await at.tell(end(cause))
        assert sorted(await at.deliver()) == ["firing", "resolved"]


async def test_a_source_explains_what_is_found_together_with_it_in_whatever_order(
    tmp_path: Path,
) -> None:
    cause, effect = begin(of=rule("Payment is down")), begin(1)
    async with desk(tmp_path, INHIBIT) as at:
        await at.tell(effect, cause)
        assert await at.deliver() == ["firing"]
        assert b"Payment is down" in at.sent[0].parts[0][1]
        later = begin(2)
        await at.tell(later, end(cause))
        assert sorted(await at.deliver()) == ["firing", "firing", "resolved"]
        assert "inhibited" not in await at.whats(id_of(later)), "it begins as its source ends"


ESCALATE = Config(
    route=(
        RouteSpec(
            matchers={"ruleName": "High Error Count"},
            channels=("ops",),
            group_interval_secs=0,
            repeat_interval_secs=0,
            escalate_after_secs=900,
            escalate_to=("boss",),
        ),
    )
)


async def test_the_boss_hears_of_what_nobody_acknowledged_in_time_and_of_its_end(
    tmp_path: Path,
) -> None:
    begun = begin()
    async with desk(tmp_path, ESCALATE) as at:
        await at.tell(begun)
        assert await at.deliver() == ["firing"]
        at.at(899)
        assert await at.deliver() == []
        at.at(900)
        assert await at.deliver() == ["firing"]
        await at.tell(end(begun))
        assert await at.deliver() == ["resolved", "resolved"]
        detail = await at.store.incidents.get(id_of(begun))
        assert detail is not None
        lines = {entry.detail for entry in detail.timeline if "boss" in entry.detail}
        assert lines >= {
            "boss (by route[0]): it is told in 15 min if nobody acknowledges it",
            "boss: nobody has acknowledged it; first of its group",
        }


@pytest.mark.parametrize("silent_s", [600, 5000])
async def test_an_escalation_waits_from_when_those_could_be_told_who_have_to_react(
    tmp_path: Path, silent_s: int
) -> None:
    begun = begin()
    async with desk(tmp_path, ESCALATE) as at:
        silence = await at.silence(10_000, service="payment")
        await at.tell(begun)
        for seconds in range(100, silent_s, 100):
            at.at(seconds)
            assert await at.deliver() == []
        at.at(silent_s)
        await at.notifier.expire_silence(silence.id)
        assert await at.deliver() == ["firing"]
        assert at.sent[-1].target == OPS
        at.at(silent_s + 899)
        assert await at.deliver() == []
        at.at(silent_s + 900)
        assert await at.deliver() == ["firing"]
        assert at.sent[-1].target == Target("boss")
        detail = await at.store.incidents.get(id_of(begun))
        assert detail is not None
        lines = [entry.what.value for entry in detail.timeline if "boss" in entry.detail]
        assert lines == ["silenced", "escalates", "queued", "sent"]


async def test_an_escalation_whose_time_comes_in_a_silence_begins_again_behind_it(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, ESCALATE) as at:
        await at.tell(begin())
        assert await at.deliver() == ["firing"]
        at.at(800)
        await at.silence(1000, service="payment")
        for seconds in (900, 1000, 1899):
            at.at(seconds)
            assert await at.deliver() == []
        at.at(1900)
        assert await at.deliver() == ["firing"]


async def test_a_chain_of_escalations_keeps_its_steps_behind_a_mute(tmp_path: Path) -> None:
    async with desk(tmp_path, structs.replace(BY_CHANNEL, mute=ALWAYS.mute)) as at:
        await at.tell(begin(of=rule(repeat_interval_secs=0.0)))
        at.at(5000)
        assert await at.deliver() == []
        at.use(BY_CHANNEL)
        told: list[tuple[str, int]] = []
        for seconds in range(5000, 7000, 100):
            at.at(seconds)
            await at.deliver()
            told += [(one.target.channel, seconds) for one in at.sent[len(told) :]]
        assert told == [("ops", 5000), ("boss", 5300), ("owner", 5900)]


HOOK = WebhookConfig(url="http://127.0.0.1:8000/hook")
BY_CHANNEL = Config(
    channels={
        "ops": structs.replace(HOOK, escalate_after_secs=300, escalate_to=("boss",)),
        "boss": structs.replace(HOOK, escalate_after_secs=600, escalate_to=("owner",)),
        "owner": HOOK,
    }
)
BY_RULE = {
    "escalate_after_secs": 300.0,
    "escalate_to": (Target("boss"), Target("EMAIL", "owner@example.org")),
    "repeat_interval_secs": 0.0,
}


async def test_a_rule_says_who_is_told_of_what_nobody_acknowledged_in_time(tmp_path: Path) -> None:
    begun = begin(of=rule("R", **BY_RULE))
    async with desk(tmp_path) as at:
        await at.tell(begun)
        assert await at.deliver() == ["firing"]
        at.at(299)
        assert await at.deliver() == []
        at.at(300)
        assert await at.deliver() == ["firing", "firing"]
        told = [one.target for one in at.sent]
        assert told == [OPS, Target("boss"), Target("EMAIL", "owner@example.org")]
        says = [b'"escalatedAfter":300' in one.parts[0][1] for one in at.sent]
        assert says == [False, True, True]
        await at.tell(end(begun))
        assert await at.deliver() == ["resolved"] * 3
        assert not any(b"escalated" in one.parts[0][1] for one in at.sent[3:])


async def test_what_a_channel_told_goes_on_to_the_next_until_somebody_acknowledges_it(
    tmp_path: Path,
) -> None:
    seen, unseen = (begin(number, of=rule(repeat_interval_secs=0.0)) for number in range(2))
    async with desk(tmp_path, BY_CHANNEL) as at:
        await at.tell(seen, unseen)
        assert await at.deliver() == ["firing", "firing"]
        at.at(300)
        assert await at.deliver() == ["firing", "firing"]
        await at.notifier.acknowledge(id_of(seen), "ann")
        at.at(899)
        assert await at.deliver() == []
        at.at(900)
        assert await at.deliver() == ["firing"]
        assert at.sent[-1].target == Target("owner")
        assert at.sent[-1].parts[0][1].count(id_of(unseen).encode())
        detail = await at.store.incidents.get(id_of(unseen))
        assert detail is not None
        lines = {entry.detail for entry in detail.timeline if "owner" in entry.detail}
        assert "owner (by channel boss): it is told in 15 min if nobody acknowledges it" in lines
        await at.tell(end(seen), end(unseen))
        await at.deliver()
        heard = [(kind, one.target.channel) for one in at.sent for kind, _ in one.parts]
        ends = sorted(channel for kind, channel in heard if kind == "resolved")
        assert ends == ["boss", "boss", "ops", "ops", "owner"]


@pytest.mark.parametrize("acknowledges", [True, False])
async def test_the_boss_hears_nothing_of_what_was_acknowledged_or_over_in_time(
    tmp_path: Path, acknowledges: bool
) -> None:
    begun = begin()
    async with desk(tmp_path, ESCALATE) as at:
        await at.tell(begun)
        assert await at.deliver() == ["firing"]
        at.at(60)
        if acknowledges:
            await at.notifier.acknowledge(id_of(begun), "ann")
            assert await at.deliver() == []
        await at.tell(end(begun))
        assert await at.deliver() == ["resolved"], "those who heard of it hear of its end"
        at.at(10_000)
        assert await at.deliver() == []


async def test_recording_again_neither_tells_nor_holds_anything_twice(tmp_path: Path) -> None:
    """A replay finds the same transitions, perhaps under other silences."""
    begun = begin()
    async with desk(tmp_path) as at:
        await at.tell(begun)
        assert await at.deliver() == ["firing"]
        await at.silence(60, service="payment")
        await at.tell(begun)
        at.at(100)
        assert await at.deliver() == []
        assert (await at.whats(id_of(begun))).count("silenced") == 0


def test_the_samples_are_transitions_of_one_incident() -> None:
    begun = begin()
    assert begun.kind is TransitionKind.FIRING
    assert id_of(end(begun)) == id_of(begun)


ALWAYS = Config(mute=(MuteSpec(name="always", start="00:00", end="24:00"),))


async def test_what_a_mute_holds_is_told_when_there_is_no_such_mute_any_more(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, ALWAYS) as at:
        await at.tell(begin())
        assert await at.deliver() == []
        at.at(5)
        at.use(Config())
        assert await at.deliver() == ["firing"]


async def test_a_restart_with_another_configuration_looks_again_at_what_is_held_back(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, ALWAYS) as at:
        await at.tell(begin())
        assert await at.deliver() == []
    async with desk(tmp_path) as at:
        assert await at.deliver() == ["firing"]


async def test_what_a_silence_holds_is_not_told_because_something_else_was_changed(
    tmp_path: Path,
) -> None:
    begun = begin()
    async with desk(tmp_path) as at:
        await at.silence(60, service="payment")
        await at.tell(begun)
        at.use(ALWAYS)
        at.at(30)
        assert await at.deliver() == []
        assert (await at.whats(id_of(begun))).count("silenced") == 1
        at.at(60)
        assert await at.deliver() == []
        assert (await at.whats(id_of(begun))).count("muted") == 1
        at.use(Config())
        assert await at.deliver() == ["firing"]


async def test_an_incident_that_is_on_inhibits_under_inhibitions_that_came_later(
    tmp_path: Path,
) -> None:
    cause, effect = begin(of=rule("Payment is down")), begin(1)
    async with desk(tmp_path) as at:
        await at.tell(cause)
        assert await at.deliver() == ["firing"]
        at.use(INHIBIT)
        await at.tell(effect)
        assert await at.deliver() == []
        at.use(Config())
        assert await at.deliver() == ["firing"]


async def test_an_escalation_waits_for_its_time_whatever_is_reloaded(tmp_path: Path) -> None:
    async with desk(tmp_path, ESCALATE) as at:
        await at.tell(begin())
        assert await at.deliver() == ["firing"]
        at.at(100)
        at.use(ESCALATE)
        assert await at.deliver() == []
        at.at(900)
        assert await at.deliver() == ["firing"]


async def test_much_that_is_held_back_is_looked_at_in_portions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PORTION", 2)
    async with desk(tmp_path) as at:
        for service, seconds in (("payment", 50), ("payment", 60), ("search", 70)):
            await at.silence(seconds, service=service)
        await at.tell(*(begin(number) for number in range(7)))
        at.use(ALWAYS)
        assert await at.deliver() == []
        looked = [
            await at.store.waiting.look_again(at.now_us, None),
            await at.store.waiting.next_look_us(),
        ]
        assert looked[0] is not None
        assert looked[1] == at.now_us
        at.at(60)
        at.use(Config())
        assert await at.deliver() == ["firing"] * 7
        assert len(at.sent) == 1, "what is let go together leaves together"


async def test_new_routes_tell_what_fires_from_now_on_and_ends_go_where_beginnings_went(
    tmp_path: Path,
) -> None:
    told_before, told_after = begin(0), begin(1)
    async with desk(tmp_path) as at:
        await at.tell(told_before)
        at.use(Config(route=(RouteSpec(channels=("boss",), group_interval_secs=0),)))
        await at.tell(told_after)
        assert await at.deliver() == ["firing"] * 3
        assert {one.target.channel for one in at.sent} == {"ops", "boss"}
        at.sent.clear()
        await at.tell(end(told_before))
        assert await at.deliver() == ["resolved"]
        assert [one.target.channel for one in at.sent] == ["ops"]


async def test_whoever_heard_of_a_beginning_hears_of_its_end_though_nothing_names_him_any_more(
    tmp_path: Path,
) -> None:
    by_route = begin(of=rule(notifications=()))
    old, new = (
        Config(route=(RouteSpec(channels=(name,), group_interval_secs=0),))
        for name in ("old", "new")
    )
    async with desk(tmp_path, old) as at:
        await at.tell(by_route)
        assert await at.deliver() == ["firing"]
        at.use(new)
        for _ in range(2):
            await at.tell(end(by_route))
        assert await at.deliver() == ["resolved"]
        assert [one.target.channel for one in at.sent] == ["old", "old"]


async def test_an_edited_rule_tells_the_end_to_whom_it_told_and_not_to_whom_nothing_came(
    tmp_path: Path,
) -> None:
    told, silenced, failed = begin(0), begin(1), begin(2)
    async with desk(tmp_path) as at:
        await at.tell(told)
        assert await at.deliver() == ["firing"]
        await at.tell(failed)
        [lost] = await at.store.outbox.claim(at.now_us, limit=1)
        await at.store.outbox.settle([settlement(lost, DeliveryStatus.FAILED, at_us=at.now_us)])
        await at.silence(60, service="payment")
        await at.tell(silenced)
        edited = compile_rule(rule(notifications=()))
        ends = [end(one) for one in (told, silenced, failed)]
        await at.tell(*(structs.replace(one, rule=edited) for one in ends))
        assert await at.deliver() == [], "silenced as well"
        at.at(60)
        assert await at.deliver() == ["resolved"]
        assert id_of(told).encode() in at.sent[-1].parts[0][1]


class NothingWaits:
    """A waiting list that is empty, and counts who looks."""

    def __init__(self) -> None:
        self.looks = 0

    async def due(self, now_us: int, *, limit: int) -> Sequence[Waiting]:
        self.looks += 1
        return ()

    async def look_again(self, now_us: int, after: Place | None) -> Place | None:
        return None

    async def next_look_us(self) -> int | None:
        return None

    async def apply(
        self, decided: Sequence[tuple[Waiting, Verdict]], told: Sequence[Notification], now_us: int
    ) -> None:
        raise AssertionError("nothing was due")


async def test_who_is_woken_by_what_was_recorded_lets_that_be_sent_first(
    mock_clock: trio.testing.MockClock,
) -> None:
    waiting_list = NothingWaits()
    reminders = Reminders(waiting_list, Policy(), lambda *_: Timing(), lambda: 0, lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reminders.run)
        await trio.testing.wait_all_tasks_blocked()
        begun = waiting_list.looks
        reminders.recorded()
        await trio.testing.wait_all_tasks_blocked()
        assert waiting_list.looks == begun
        mock_clock.jump(GIVE_WAY_S)
        await trio.testing.wait_all_tasks_blocked()
        assert waiting_list.looks == begun + 1
        nursery.cancel_scope.cancel()

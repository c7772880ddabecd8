"""Screening whole batches in columns: with many groups and large batches nobody can tell either."""

from __future__ import annotations

import random
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import msgpack
import pytest

from alertd.engine.dump import GROUPS_AT_ONCE, DumpEnded
from alertd.engine.engine import Engine
from alertd.engine.inputs import Input, RulesChanged, Tick
from alertd.model import (
    EndReason,
    EventBatch,
    GroupState,
    Limits,
    Operator,
    Rule,
    RuleType,
    Series,
    Transition,
)
from alertd.rules import RuleRecord, RuleSpec, Source, compile_rule

BEGIN_US = 1_750_000_000_000_000
SERIES = [
    Series(number, "cpu" if number % 7 else "other", (("host", f"h{number % 90}"),))
    for number in range(200)
]


def rule(name: str, **changed: object) -> Rule:
    fields: dict[str, object] = {
        "name": name,
        "type": RuleType.MOVING_WINDOW,
        "metric_name": "cpu",
        "threshold": 90,
        "window_duration_secs": 0.5,
        "group_by": ("host",),
        "allowed_lateness_secs": 0.05,
    }
    spec = RuleSpec(**(fields | changed))  # type: ignore[arg-type]  # the table below is right
    return compile_rule(
        RuleRecord(id=name, version=1, source=Source.API, created_us=0, updated_us=0, spec=spec)
    )


RULES = (
    rule("average"),
    rule("least", aggregate="min", operator=Operator.LT, threshold=3),
    rule("at least", aggregate="p95", operator=Operator.GE, threshold=97),
    rule("many", type=RuleType.SIMPLE_COUNT, threshold=25),
    rule("any", type=RuleType.SIMPLE_COUNT, threshold=0),
    rule("buckets", type=RuleType.BUCKETED_WINDOW, bucket_interval_secs=0.25),
    rule("early", type=RuleType.BUCKETED_WINDOW, evaluate="early", aggregate="max", threshold=99.5),
    rule("hot", threshold=2),
    rule("cold", aggregate="p90", operator=Operator.LE, threshold=98.5, window_duration_secs=2),
    rule("awake", aggregate="sum", threshold=1000),
    rule("short memory", group_ttl_secs=1, matchers={"host": "=~h1."}),
)


def batches(seed: int, count: int) -> Iterator[EventBatch]:
    """Yield batches of any size: mostly in order, some events late, at one instant, or ahead."""
    source = random.Random(seed)  # noqa: S311 - the same events in every run
    now_us = BEGIN_US
    for _ in range(count):
        size = source.choice([0, 1, 3, 40, 300, 700])
        now_us += source.choice([0, 10, 30_000, 700_000])
        series = range(source.choice([10, 120, 200]))
        times = [now_us - source.randrange(20_000) for _ in range(size)]
        if source.random() < 0.7:
            times.sort()
        if source.random() < 0.3:
            times = [now_us + source.choice([0, 0, 5_000, -90_000])] * size
        loud = source.choice([0.0, 0.0, 0.01, 0.3])
        yield EventBatch(
            received_us=now_us,
            series_ids=array("I", source.choices(series, k=size)),
            times_us=array("q", times),
            values=array(
                "d",
                (
                    source.choice([1.0, 98.0, 100.0])
                    if source.random() < loud
                    else source.uniform(3, 89)
                    for _ in range(size)
                ),
            ),
        )


def life(seed: int) -> Iterator[Input]:
    """Yield batches with ticks and changes of rules in between."""
    source = random.Random(seed)  # noqa: S311 - likewise
    for number, batch in enumerate(batches(seed, 45)):
        yield batch
        if source.random() < 0.2:
            yield Tick(batch.received_us + source.choice([0, 40_000]) * (number % 2))
        if number == 25:
            edited = rule("average", threshold=70)
            yield RulesChanged(at_us=batch.received_us, put=(edited,))
        if number == 40:
            gone = (("least", EndReason.RULE_DELETED),)
            yield RulesChanged(at_us=batch.received_us, dropped=gone, put=(rule("new"),))


def frozen(engine: Engine) -> list[bytes]:
    return [msgpack.packb(item) for item in engine.dump()]


def lived(seed: int, *, columns_from: int) -> tuple[Engine, list[Transition], list[object]]:
    """Return an engine, what it told, and what was seen of its state on the way."""
    engine = Engine(SERIES.__getitem__, columns_from=columns_from)
    found = engine.step(RulesChanged(at_us=BEGIN_US, put=RULES))
    now_us, seen = BEGIN_US, list[object]()
    dump: Iterator[object] = iter(())
    for number, entry in enumerate(life(seed)):
        if isinstance(entry, EventBatch):
            now_us = max(now_us, entry.received_us)
        found += engine.step(entry)
        if number % 10 == 5:
            dump = iter(engine.dump())
            seen += islice(dump, 100)
        elif number % 10 == 7:
            seen.append(engine.group_states("average", now_us))
        elif number % 10 == 9:  # of what was stepped meanwhile the dump shows nothing
            with suppress(DumpEnded):
                seen += dump
    return engine, found, seen


@pytest.fixture(params=[False, True], ids=["as shipped", "with little room"])
def bounds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy", reason="screening in columns needs NumPy")
    if request.param:
        monkeypatch.setattr("alertd.engine.waiting.MAX_WAITING", 50)
        monkeypatch.setattr("alertd.engine.waiting.GROUPS_AT_ONCE", 7)
        monkeypatch.setattr("alertd.engine.sleepers.ROUSED_AT_ONCE", 5)
        monkeypatch.setattr("alertd.engine.sleepers.MAX_GROUPS", 400)
        monkeypatch.setattr("alertd.engine.sleepers._FIRST_SLOTS", 2)
        for module in ("continuous", "sleeping", "sleepers"):
            monkeypatch.setattr(f"alertd.engine.{module}.LEAST_ROOM", 3)


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("seed", range(3))
def test_large_batches_screened_in_columns_leave_the_same_state(seed: int) -> None:
    columnar, told_in_columns, seen_in_columns = lived(seed, columns_from=1)
    plain, told, seen = lived(seed, columns_from=sys.maxsize)
    assert told_in_columns == told
    assert told
    assert seen_in_columns == seen
    assert frozen(columnar) == frozen(plain)
    now_us = BEGIN_US + 10**9
    for each in columnar.rules():
        states = columnar.group_states(each.id, now_us)
        assert states == plain.group_states(each.id, now_us)
        assert set(states) <= set(GroupState)


@pytest.mark.usefixtures("bounds")
def test_a_dump_is_taken_on_in_the_pauses_of_a_batch_that_keeps_groups_for_it() -> None:
    engine, twin = (lived(1, columns_from=1)[0] for _ in range(2))
    at_once, items = list(twin.dump()), iter(engine.dump())
    taken = list(islice(items, 30))
    at_us = engine.now_us + 1_000
    times, values = array("q", [at_us] * 200), array("d", [50.0] * 200)
    batch = EventBatch(at_us, array("I", range(200)), times, values)
    told = []
    for part in engine.in_slices(batch):
        told += part
        taken += islice(items, 40)
    taken += items
    assert taken == at_once
    assert told == twin.step(batch)
    assert frozen(engine) == frozen(twin)


def test_a_batch_pauses_while_its_groups_are_kept_for_a_dump() -> None:
    series = [Series(number, "cpu", (("host", f"h{number}"),)) for number in range(1_000)]
    slices = []
    for is_dumped in (False, True):
        engine = Engine(series.__getitem__)
        engine.step(RulesChanged(at_us=BEGIN_US, put=(RULES[0],)))
        for number in range(1, 4):
            at_us = BEGIN_US + number * 1_000
            times, values = array("q", [at_us] * 1_000), array("d", [1.0] * 1_000)
            if is_dumped and number == 3:
                engine.dump()
            batch = EventBatch(at_us, array("I", range(1_000)), times, values)
            count = len(list(engine.in_slices(batch)))
        slices.append(count)
    assert slices[1] >= slices[0] + 1_000 // GROUPS_AT_ONCE


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how many events of each rule its groups observed one by one."""
    pytest.importorskip("numpy", reason="screening in columns needs NumPy")
    from alertd.engine.resting import RestingGroup

    counted = Counter[str]()
    original = RestingGroup.observe

    def observe(self: RestingGroup, time_us: int, value: float, now_us: int) -> bool:
        counted[self.rule_id] += 1
        return original(self, time_us, value, now_us)

    monkeypatch.setattr(RestingGroup, "observe", observe)
    return counted


def quiet_batches(count: int, *, apart_us: int) -> Iterator[EventBatch]:
    """Yield batches with a small value of each series."""
    for number in range(1, count + 1):
        at_us = BEGIN_US + number * apart_us
        times, values = array("q", [at_us] * 200), array("d", [1.0] * 200)
        yield EventBatch(at_us, array("I", range(200)), times, values)


def test_quiet_events_do_not_reach_their_groups_one_by_one(observed: Counter[str]) -> None:
    engine = Engine(SERIES.__getitem__)
    engine.step(RulesChanged(at_us=BEGIN_US, put=(RULES[0],)))
    for batch in quiet_batches(30, apart_us=1_000):
        engine.step(batch)
    assert observed.total() < 4 * 200


@pytest.mark.parametrize(
    ("apart_us", "is_looked_at"),
    [(100, False), (20_000, True)],
    ids=["none has left its window", "many have left"],
)
def test_who_has_nothing_to_forget_is_given_room_without_a_look(
    apart_us: int, is_looked_at: bool, observed: Counter[str]
) -> None:
    engine = Engine(SERIES.__getitem__)
    engine.step(RulesChanged(at_us=BEGIN_US, put=(RULES[0],)))
    batches = list(quiet_batches(400, apart_us=apart_us))
    for batch in batches[:4]:
        engine.step(batch)
    observed.clear()
    for batch in batches[4:]:
        engine.step(batch)
    assert bool(observed) == is_looked_at
    plain = Engine(SERIES.__getitem__, columns_from=sys.maxsize)
    plain.step(RulesChanged(at_us=BEGIN_US, put=(RULES[0],)))
    for batch in batches:
        plain.step(batch)
    assert frozen(engine) == frozen(plain)


def test_a_limit_on_events_is_reached_in_columns_as_it_is_one_by_one() -> None:
    engines = []
    for columns_from in (1, sys.maxsize):
        engine = Engine(SERIES.__getitem__, columns_from=columns_from)
        limits = Limits(events_per_group=200)
        engine.step(RulesChanged(at_us=BEGIN_US, put=RULES[:5], limits=limits))
        for batch in quiet_batches(300, apart_us=100):
            engine.step(batch)
        engines.append(engine)
    assert frozen(engines[0]) == frozen(engines[1])
    assert all(each.overflow_events for _, each in engines[0].observed())

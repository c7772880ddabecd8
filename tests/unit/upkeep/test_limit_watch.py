"""Refusals are told by name: counted, shown, and logged once a minute."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from alertd.clock import format_us
from alertd.engine.inputs import RulesChanged
from alertd.errors import Overloaded
from alertd.ingest.series import SeriesRegistry
from alertd.metrics import Metrics
from alertd.model import Limits
from alertd.upkeep.limit_watch import LimitWatch
from tests.unit.engine.engine_driver import Driver, count_rule, us

DAY_S = 86_400


def counted(metrics: Metrics, limit: str) -> float:
    value = metrics.registry.get_sample_value("alertd_events_not_judged_total", {"limit": limit})
    return value or 0


def test_what_rules_refuse_is_counted_at_each_look_and_logged_once_a_minute() -> None:
    driver, metrics = Driver(count_rule(name="errors", group_by=("host",))), Metrics()
    driver.engine.step(RulesChanged(at_us=0, limits=Limits(groups_per_rule=1)))
    watch = LimitWatch(driver.engine, SeriesRegistry(), metrics)
    with capture_logs() as logs:
        watch.look(0)
        for second in range(1, 121):
            driver.send(second, host="a")
            driver.send(second, host="b")
            watch.look(second)
    assert counted(metrics, "max_groups_per_rule") == 120
    reached = metrics.registry.get_sample_value("alertd_limits_reached_total", {"limit": "groups"})
    assert reached == 120
    assert [(line["rule"], line["group"], line["events"]) for line in logs] == [
        ("errors", {"host": "b"}, 1),
        ("errors", {"host": "b"}, 60),
    ]
    (refusal,) = watch.refusals()
    assert (refusal.limit, refusal.rule_id, refusal.events) == ("max_groups_per_rule", "r", 120)
    assert refusal.latest == {"host": "b"}


def test_a_series_too_many_is_named() -> None:
    registry, metrics = SeriesRegistry(max_series=1), Metrics()
    watch = LimitWatch(Driver().engine, registry, metrics)
    registry.lookup("cpu", b"{}")
    for _ in range(3):
        with pytest.raises(Overloaded):
            registry.lookup("cpu", b'{"host": "b"}')
    with capture_logs() as logs:
        watch.look(0)
        watch.look(1)
    (line,) = logs
    assert (line["limit"], line["metric"], line["labels"]) == ("max_series", "cpu", {"host": "b"})
    assert [refusal.metric_name for refusal in watch.refusals()] == ["cpu"]


def test_what_was_refused_before_the_start_is_shown_and_not_told_again() -> None:
    driver, metrics = Driver(count_rule()), Metrics()
    driver.engine.step(RulesChanged(at_us=0, limits=Limits(events_per_group=1)))
    for second in (1, 2):
        driver.send(second)
    with capture_logs() as logs:
        watch = LimitWatch(driver.engine, SeriesRegistry(), metrics)
        watch.look(0)
    assert logs == []
    assert counted(metrics, "max_events_per_group") == 0
    assert [refusal.events for refusal in watch.refusals()] == [1]


def test_a_rule_that_went_and_came_back_is_counted_from_nothing() -> None:
    driver, metrics = Driver(count_rule()), Metrics()
    driver.engine.step(RulesChanged(at_us=0, limits=Limits(events_per_group=1)))
    watch = LimitWatch(driver.engine, SeriesRegistry(), metrics)
    for second in range(5):
        driver.send(second)
    watch.look(1)
    driver.change(count_rule(window=20), at=10)
    for second in (30, 31, 32):
        driver.send(second)
    watch.look(100)
    assert counted(metrics, "max_events_per_group") == 4 + 2


def test_rules_with_gaps_are_shown_with_the_greatest_first() -> None:
    slow = count_rule(id="slow", name="slow", metric_name="slow", lateness=10)
    driver = Driver(count_rule(id="fast", lateness=10), slow)
    watch = LimitWatch(driver.engine, SeriesRegistry(), Metrics())
    for second in range(100, 200, 5):
        driver.send(second)
    assert watch.gaps() == []
    for second in (100, 160, 190):
        driver.send(second, metric="slow")
    (gap,) = watch.gaps()
    assert (gap.rule_name, gap.count, gap.greatest_secs) == ("slow", 2, 60)
    assert gap.allowed_lateness_secs == 10


def test_what_was_not_seen_for_a_day_is_shown_no_longer_but_still_counts() -> None:
    driver, metrics = Driver(count_rule(lateness=10)), Metrics()
    driver.engine.step(RulesChanged(at_us=0, limits=Limits(events_per_group=1)))
    watch = LimitWatch(driver.engine, SeriesRegistry(), metrics)
    for second in (100, 160, 161):
        driver.send(second)
    driver.tick(160 + DAY_S - 1)
    driver.restart()
    watch = LimitWatch(driver.engine, SeriesRegistry(), metrics)
    (gap,), (refusal,) = watch.gaps(), watch.refusals()
    assert gap.latest_at == format_us(us(160))
    assert (refusal.events, refusal.latest_at) == (1, format_us(us(161)))
    driver.tick(160 + DAY_S)
    assert watch.gaps() == []
    assert watch.refusals() == [refusal]
    driver.tick(161 + DAY_S)
    assert watch.refusals() == []
    watch.look(0)
    assert counted(metrics, "max_events_per_group") == 0  # those before the restart are not new
    driver.send(161 + DAY_S + 1)
    (gap,) = watch.gaps()
    assert gap.count == 2

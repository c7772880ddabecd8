"""Random worlds for the engine: a rule, the series there are, and a day's worth of receipts.

Times are small numbers of microseconds from an odd start, so that events, windows, buckets and
deadlines meet at the same instants far more often than they would by the second.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import msgspec
from hypothesis import strategies as st

from alertd.engine.bucketed import BucketedGroup
from alertd.engine.continuous import ContinuousGroup
from alertd.engine.engine import Engine
from alertd.engine.inputs import Backfill, Input, LookBack, RulesChanged, StoredGroup, Tick
from alertd.engine.progress import Progress
from alertd.engine.rescan import Arrival, Episode, horizon, lives, rescan
from alertd.model import (
    COMPARE,
    Evaluate,
    EventBatch,
    Incident,
    Labels,
    Limits,
    Matcher,
    MatchOperator,
    OnNoData,
    Operator,
    Rule,
    RuleType,
    Series,
    Severity,
    Transition,
)
from alertd.rules import AGGREGATES, ZERO_ON_EMPTY, least_ttl_us

METRIC = "requests"
SERIES = (
    Series(0, METRIC, (("host", "a"), ("zone", "1"))),
    Series(1, METRIC, (("host", "b"), ("zone", "1"))),
    Series(2, METRIC, ()),
    Series(3, "other", (("host", "a"),)),
    Series(4, METRIC, (("host", "a"), ("zone", "9"))),
)
SEEN_SERIES = (0, 1, 2)
"""What the rules of these worlds see: the metric, and no zone 9."""

MAX_AHEAD_US = 30

NUMBERS = st.one_of(
    st.integers(-3, 5).map(float),
    st.sampled_from([0.1, 0.2, 0.3, 0.7, -0.0, 1e308, -1e308, 5e-324, 1e-200, 1e16, 2.5]),
)


@dataclass(frozen=True)
class Receipt:
    """An event, and when it was received."""

    series_id: int
    time_us: int
    value: float
    received_us: int


@dataclass(frozen=True)
class World:
    """What happens to one rule from its activation to the last look at ``end_us``."""

    rule: Rule
    active_us: int
    receipts: tuple[Receipt, ...]
    end_us: int

    def groups(self) -> dict[Labels, list[Arrival]]:
        """Return the arrivals that the rule sees, by group; without groupBy it is always there."""
        groups: dict[Labels, list[Arrival]] = {}
        if not self.rule.group_by:
            groups[()] = []
        for r in self.receipts:
            if r.series_id in SEEN_SERIES:
                arrival = Arrival(r.time_us, r.value, r.received_us)
                groups.setdefault(group_of(self.rule, r.series_id), []).append(arrival)
        return groups


def judges_on_close(rule: Rule) -> bool:
    return rule.type is RuleType.BUCKETED_WINDOW and rule.evaluate is Evaluate.ON_CLOSE


def group_of(rule: Rule, series_id: int) -> Labels:
    labels = dict(SERIES[series_id].labels)
    return tuple((name, labels.get(name, "")) for name in rule.group_by)


def make_rule(**options: object) -> Rule:
    """Return a SIMPLE_COUNT rule over 10 µs with ``options``."""
    usual: dict[str, object] = {
        "id": "r",
        "version": 1,
        "name": "r",
        "type": RuleType.SIMPLE_COUNT,
        "metric_name": METRIC,
        "matchers": (Matcher("zone", MatchOperator.NOT_EQUAL, "9"),),
        "group_by": (),
        "aggregate": "count",
        "operator": Operator.GT,
        "threshold": 1.0,
        "resolve_threshold": None,
        "window_us": 10,
        "min_samples": 0,
        "for_us": 0,
        "keep_firing_us": 0,
        "allowed_lateness_us": 0,
        "on_no_data": OnNoData.RESOLVE,
        "evaluate": Evaluate.ON_CLOSE,
        "group_ttl_us": 1 << 50,
        "severity": Severity.WARNING,
        "description": "",
        "runbook_url": None,
        "repeat_interval_us": 0,
        "targets": (),
    }
    usual |= options
    usual.setdefault("bucket_us", usual["window_us"])
    return Rule(**usual)  # type: ignore[arg-type]  # the options are the caller's to get right


@st.composite
def rules(draw: st.DrawFn, aggregates: Sequence[str] = (*AGGREGATES, "p99.9", "p25")) -> Rule:
    """Any rule that ``rule_checks.check_spec`` would let through, with short windows."""
    rule_type = draw(st.sampled_from([*RuleType, RuleType.BUCKETED_WINDOW]))
    is_count = rule_type is RuleType.SIMPLE_COUNT
    aggregate = "count" if is_count else draw(st.sampled_from(aggregates))
    comparison = draw(st.sampled_from(Operator))
    is_counting = aggregate in ("count", "distinct")
    threshold = float(draw(st.integers(0, 3))) if is_counting else draw(NUMBERS)
    bucket_us = draw(st.integers(1, 12))
    buckets = draw(st.integers(1, 4))
    short = st.one_of(st.just(0), st.integers(1, 6), st.integers(1, 25))
    least_samples = 0 if aggregate in ZERO_ON_EMPTY else 1
    on_no_data = draw(st.sampled_from(OnNoData))
    evaluations = st.sampled_from([Evaluate.EARLY, Evaluate.EARLY, Evaluate.ON_CLOSE])
    can_be_early = (
        rule_type is RuleType.BUCKETED_WINDOW
        and on_no_data is not OnNoData.ALERT
        and not (aggregate in ZERO_ON_EMPTY and COMPARE[comparison](0.0, threshold))
    )
    return make_rule(
        type=rule_type,
        group_by=draw(st.sampled_from([(), ("host",), ("host", "zone")])),
        aggregate=aggregate,
        operator=comparison,
        threshold=threshold,
        resolve_threshold=draw(resolve_thresholds(comparison, threshold)),
        window_us=bucket_us * buckets,
        bucket_us=bucket_us if rule_type is RuleType.BUCKETED_WINDOW else bucket_us * buckets,
        min_samples=max(draw(st.sampled_from([0, 0, 1, 2, 3])), least_samples),
        for_us=draw(short),
        keep_firing_us=draw(short),
        allowed_lateness_us=draw(short),
        on_no_data=on_no_data,
        evaluate=draw(evaluations) if can_be_early else Evaluate.ON_CLOSE,
    )


@st.composite
def sleepy_rules(draw: st.DrawFn) -> Rule:
    """A rule over long windows whose groups sleep while their values are quiet."""
    aggregate = draw(
        st.sampled_from(
            [
                *("avg", "p50", "p90", "min", "max", "first", "count", "sum", "sum", "rate"),
                *("stddev", "stddev", "delta"),
            ]
        )
    )
    comparison = draw(st.sampled_from([Operator.GT, Operator.GE, Operator.LT, Operator.LE]))
    threshold = float(draw(st.integers(0, 4)))
    kind = draw(st.sampled_from(["moving", "bucketed", "early"]))
    is_early = kind == "early" and not (
        aggregate in ZERO_ON_EMPTY and COMPARE[comparison](0.0, threshold)
    )
    is_bucketed = is_early or kind == "bucketed"
    bucket_us = draw(st.integers(5, 20))
    window_us = bucket_us * draw(st.integers(1, 4))
    return make_rule(
        type=RuleType.BUCKETED_WINDOW if is_bucketed else RuleType.MOVING_WINDOW,
        evaluate=Evaluate.EARLY if is_early else Evaluate.ON_CLOSE,
        group_by=draw(st.sampled_from([(), ("host",)])),
        aggregate=aggregate,
        operator=comparison,
        threshold=threshold,
        window_us=window_us,
        bucket_us=bucket_us if is_bucketed else window_us,
        min_samples=draw(st.integers(1, 3)),
        for_us=draw(st.sampled_from([0, 0, 3])),
        keep_firing_us=draw(st.sampled_from([0, 0, 3])),
        allowed_lateness_us=draw(st.sampled_from([0, 5])),
    )


@st.composite
def forgetful(draw: st.DrawFn, rule: st.SearchStrategy[Rule]) -> Rule:
    """A rule that drops its groups soon, but not before they are done with what they have."""
    of = draw(rule)
    more_us = draw(st.one_of(st.just(0), st.integers(0, 12), st.integers(0, 60)))
    return msgspec.structs.replace(of, group_ttl_us=least_ttl_us(of) + more_us)


def resolve_thresholds(comparison: Operator, threshold: float) -> st.SearchStrategy[float | None]:
    """None, or a threshold on the laxer side."""
    if comparison in (Operator.EQ, Operator.NE):
        return st.none()
    sign = -1.0 if comparison in (Operator.GT, Operator.GE) else 1.0
    return st.one_of(
        st.none(), st.sampled_from([0.0, 1.0, 2.0]).map(lambda by: threshold + sign * by)
    )


_STEPS = st.tuples(
    st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 4]),  # the series
    st.one_of(st.just(0), st.integers(0, 8), st.integers(0, 80)),  # wall time that passes before
    st.booleans(),  # whether the sender trails, or is at the clock
    st.one_of(st.integers(1, 4), st.integers(1, 40)),
    NUMBERS,
)


_LISTS_OF_STEPS = st.one_of(st.lists(_STEPS, max_size=8), st.lists(_STEPS, min_size=8, max_size=25))


@st.composite
def worlds(draw: st.DrawFn, rule: st.SearchStrategy[Rule] | None = None) -> World:
    """A rule and events of which none is late, a few of them ahead of the clock."""
    usual = st.one_of(
        rules(), sleepy_rules(), forgetful(st.one_of(rules(), rules(), sleepy_rules()))
    )
    of_rule = draw(usual if rule is None else rule)
    active_us = draw(st.sampled_from([0, 7, 1_700_000_000_000_003]))
    receipts: list[Receipt] = []
    heard: dict[Labels, list[Arrival]] = {}
    now_us = active_us
    for series_id, passes_us, trails, step_us, value in draw(_LISTS_OF_STEPS):
        now_us += passes_us
        arrivals = heard.setdefault(group_of(of_rule, series_id), [])
        forgotten_us = forgotten_until(of_rule, active_us, heard, now_us)
        arrivals_now = living(of_rule, arrivals, now_us)
        time_us = _in_time(of_rule, active_us, arrivals_now, now_us, trails=trails, step_us=step_us)
        time_us = max(time_us, forgotten_us + 1)
        receipts.append(Receipt(series_id, time_us, value, now_us))
        if series_id in SEEN_SERIES:
            arrivals.append(Arrival(time_us, value, now_us))
    end_us = now_us + draw(st.one_of(st.integers(0, 60), st.just(500)))
    return World(of_rule, active_us, tuple(receipts), end_us)


def living(rule: Rule, arrivals: Sequence[Arrival], now_us: int) -> list[Arrival]:
    """Return what a group still knows that got ``arrivals``."""
    last = lives(rule, arrivals, now_us)[-1:]
    return [a for life in last if life.dropped_us is None for a in life.arrivals]


def forgotten_until(
    rule: Rule, active_us: int, heard: Mapping[Labels, Sequence[Arrival]], now_us: int
) -> int:
    """Return up to where dropped groups of the rule may have had what a late event needs."""
    until_us = -(1 << 62)
    for arrivals in heard.values():
        for life in lives(rule, arrivals, now_us):
            if life.dropped_us is not None:
                judged_us = horizon(rule, active_us, life.arrivals, life.dropped_us)
                assert judged_us is not None
                newest_us = max(arrival.time_us for arrival in life.arrivals)
                until_us = max(
                    until_us, min(newest_us + rule.window_us + rule.bucket_us, judged_us)
                )
    return until_us


def _in_time(
    rule: Rule,
    active_us: int,
    arrivals: list[Arrival],
    now_us: int,
    *,
    trails: bool,
    step_us: int,
) -> int:
    """Return an event time that is not late at ``now_us``, and not far ahead of it."""
    first_us = first_in_time(rule, active_us, arrivals, now_us)
    if not judges_on_close(rule):
        if first_us is None:
            return now_us + 3 - step_us
        at_clock_us = min(now_us + 3 - step_us // 2, now_us + MAX_AHEAD_US)
        return first_us + step_us - 1 if trails else max(first_us, at_clock_us)
    at_us = now_us + 3 - step_us
    if first_us is None:
        return at_us
    return first_us + step_us - 1 if trails else max(first_us, at_us)


def first_in_time(
    rule: Rule, active_us: int, arrivals: Sequence[Arrival], now_us: int
) -> int | None:
    """Return the first event time of a group that is not late at ``now_us``; None if none is."""
    judged_us = horizon(rule, active_us, arrivals, now_us)
    if judged_us is None:
        return None
    return judged_us // rule.bucket_us * rule.bucket_us if judges_on_close(rule) else judged_us + 1


def comes_in_time(world: World) -> bool:
    """Return whether no event of ``world`` that its rule sees is late."""
    heard: dict[Labels, list[Arrival]] = {}
    for r in world.receipts:
        if r.series_id in SEEN_SERIES:
            arrivals = heard.setdefault(group_of(world.rule, r.series_id), [])
            alive = living(world.rule, arrivals, r.received_us)
            first_us = first_in_time(world.rule, world.active_us, alive, r.received_us)
            forgotten_us = forgotten_until(world.rule, world.active_us, heard, r.received_us)
            if r.time_us <= forgotten_us or (first_us is not None and r.time_us < first_us):
                return False
            arrivals.append(Arrival(r.time_us, r.value, r.received_us))
    return True


def empty_engine(*, in_columns: bool = True) -> Engine:
    """Return an engine that screens even the smallest batch in columns, or none at all."""
    columns_from = 1 if in_columns else sys.maxsize
    return Engine(lambda series_id: SERIES[series_id], columns_from=columns_from)


@contextmanager
def without_rest() -> Iterator[None]:
    """Have groups that begin meanwhile judge everything: none sleeps or coasts."""
    with (
        patch("alertd.engine.routing.RestingGroup", ContinuousGroup),
        patch("alertd.engine.routing.RestingBucketedGroup", BucketedGroup),
    ):
        yield


def new_engine(
    rule: Rule, active_us: int, *, limits: Limits | None = None, in_columns: bool = True
) -> Engine:
    """Return an engine that watches by ``rule``."""
    engine = empty_engine(in_columns=in_columns)
    engine.step(RulesChanged(at_us=active_us, put=(rule,), limits=limits))
    return engine


def batch(receipts: Sequence[Receipt]) -> EventBatch:
    """Return events of one receipt as the engine takes them."""
    return EventBatch(
        received_us=receipts[0].received_us,
        series_ids=array("I", [r.series_id for r in receipts]),
        times_us=array("q", [r.time_us for r in receipts]),
        values=array("d", [r.value for r in receipts]),
    )


def one_by_one(world: World) -> list[Input]:
    """Return the plainest inputs that tell ``world``: a batch an event, one tick at the end."""
    return [*(batch([r]) for r in world.receipts), Tick(world.end_us)]


@st.composite
def retellings(draw: st.DrawFn, world: World, *, cuts: bool = True) -> list[Input]:
    """The same world in other words: events of one receipt cut anyhow, ticks at any times.

    Without ``cuts`` each event is a batch of its own.
    """
    inputs: list[Input] = []
    now_us = world.active_us
    pending: list[Receipt] = []
    for receipt in (*world.receipts, None):
        then_us = world.end_us if receipt is None else receipt.received_us
        if pending and (
            not cuts or then_us != pending[0].received_us or receipt is None or draw(st.booleans())
        ):
            inputs.append(batch(pending))
            pending = []
        if not pending and draw(st.booleans()):
            ticks = draw(st.lists(st.integers(now_us, then_us), max_size=4))
            inputs.extend(Tick(tick_us) for tick_us in sorted(ticks))
        now_us = then_us
        if receipt is not None:
            pending.append(receipt)
    return [*inputs, Tick(world.end_us)]


def tell(engine: Engine, inputs: Iterable[Input]) -> list[Transition]:
    """Step through ``inputs`` and return all transitions."""
    return [transition for event in inputs for transition in engine.step(event)]


def incidents(transitions: Iterable[Transition], engine: Engine) -> dict[str, Incident]:
    """Return each incident as it was last seen, by id; no two may share an id."""
    found: dict[str, Incident] = {}
    for transition in transitions:
        incident = transition.incident
        if incident is not None:
            assert (incident.ended_us is not None) == (incident.id in found)
            found[incident.id] = incident
    return found | {incident.id: incident for incident in engine.open_incidents()}


def episodes(found: Iterable[Incident]) -> dict[Labels, list[Episode]]:
    """Return incidents in the words of ``rescan``, by group, in order."""
    by_group: dict[Labels, list[Episode]] = {}
    for incident in sorted(found, key=lambda incident: incident.started_us):
        by_group.setdefault(incident.group, []).append(
            Episode(
                incident.started_us,
                incident.fired_us,
                incident.ended_us,
                incident.end_reason,
                incident.value,
                incident.peak_value,
            )
        )
    return by_group


def expected(world: World) -> dict[Labels, list[Episode]]:
    """Return what ``rescan`` finds in ``world``, by group; groups without incidents left out."""
    found = {
        labels: rescan(world.rule, world.active_us, arrivals, world.end_us)
        for labels, arrivals in world.groups().items()
    }
    return {labels: those for labels, those in found.items() if those}


def stored_groups(
    look_back: LookBack, groups: Mapping[Labels, Sequence[Arrival]], now_us: int
) -> tuple[StoredGroup, ...]:
    """Return what a store that holds ``groups`` tells a rule that becomes active now."""
    found = []
    for labels, arrivals in sorted(groups.items()):
        seen = [a for a in arrivals if a.time_us > look_back.read_after_us]
        if not seen:
            continue
        progress = Progress(look_back.lateness_us)
        for arrival in seen:
            progress.see(arrival.time_us, arrival.received_us)
        progress.close(now_us)
        seen.sort(key=lambda arrival: arrival.time_us)
        found.append(
            StoredGroup(
                labels=labels,
                times_us=array("q", [arrival.time_us for arrival in seen]),
                values=array("d", [arrival.value for arrival in seen]),
                newest_us=progress.newest_us,
                raised_us=progress.raised_us,
                heard_us=progress.heard_us,
                clock_us=progress.clock_us,
            )
        )
    return tuple(found)


def warm_start(engine: Engine, world: World, at_us: int) -> list[Transition]:
    """Make the rule of ``world`` active now, with the world's receipts for what is stored."""
    engine.step(RulesChanged(at_us=at_us, put=(world.rule,)))
    (look_back,) = engine.look_backs
    stored = stored_groups(look_back, world.groups(), at_us)
    return engine.step(Backfill(now_us=at_us, rule_id=world.rule.id, groups=stored))

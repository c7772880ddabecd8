"""Drives an engine by hand: whole seconds in, incidents in whole seconds out."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import msgpack

from alertd.engine.engine import Engine
from alertd.engine.inputs import Backfill, RulesChanged, StoredGroup, Tick
from alertd.engine.progress import Progress
from alertd.model import (
    US_PER_S,
    EndReason,
    Evaluate,
    EventBatch,
    Incident,
    Labels,
    OnNoData,
    Operator,
    Rule,
    RuleType,
    Series,
    Severity,
    Transition,
    TransitionKind,
)

Edges = tuple[float, float, float | None, EndReason | None]
"""An incident: started, fired, ended, in seconds, and why it ended."""


def make_rule(**options: object) -> Rule:
    """Return ``MOVING_WINDOW last > 0.5`` over 10 s without lateness, with ``options``.

    Durations are given in seconds as ``window``, ``bucket``, ``for_``, ``keep`` and ``lateness``.
    """
    window_us = round(float(str(options.pop("window", 10))) * US_PER_S)
    usual: dict[str, object] = {
        "id": "r",
        "version": 1,
        "name": "r",
        "type": RuleType.MOVING_WINDOW,
        "metric_name": "m",
        "matchers": (),
        "group_by": (),
        "aggregate": "last",
        "operator": Operator.GT,
        "threshold": 0.5,
        "resolve_threshold": None,
        "window_us": window_us,
        "bucket_us": round(float(str(options.pop("bucket", window_us / US_PER_S))) * US_PER_S),
        "for_us": round(float(str(options.pop("for_", 0))) * US_PER_S),
        "keep_firing_us": round(float(str(options.pop("keep", 0))) * US_PER_S),
        "allowed_lateness_us": round(float(str(options.pop("lateness", 0))) * US_PER_S),
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
    usual.setdefault("min_samples", 0 if usual["aggregate"] == "count" else 1)
    return Rule(**usual)  # type: ignore[arg-type]  # the options are the caller's to get right


def count_rule(**options: object) -> Rule:
    """Return ``SIMPLE_COUNT > 0`` over 10 s, with ``options``."""
    return make_rule(
        **{"type": RuleType.SIMPLE_COUNT, "aggregate": "count", "threshold": 0.0} | options
    )


def bucket_rule(**options: object) -> Rule:
    """Return ``BUCKETED_WINDOW count > 0`` over 10 s, with ``options``."""
    return make_rule(
        **{"type": RuleType.BUCKETED_WINDOW, "aggregate": "count", "threshold": 0.0} | options
    )


class Driver:
    """An engine, the series it was told of, and everything it has told."""

    def __init__(self, *rules: Rule, at: float = 0) -> None:
        self.series: list[Series] = []
        self.engine = Engine(lambda series_id: self.series[series_id])
        self.told: list[Transition] = []
        self.change(*rules, at=at)

    def change(
        self, *rules: Rule, at: float, dropped: tuple[tuple[str, EndReason], ...] = ()
    ) -> None:
        """Make or edit rules, or drop some."""
        self.told += self.engine.step(RulesChanged(at_us=us(at), put=rules, dropped=dropped))

    def warm_start(
        self, rule: Rule, *stored: tuple[float, float], at: float, **labels: str
    ) -> None:
        """Make ``rule`` active when events of these times and values, in order, are stored."""
        self.start_from(rule, at, {tuple(sorted(labels.items())): [(t, v, t) for t, v in stored]})

    def start_from(
        self, rule: Rule, at: float, stored: Mapping[Labels, Sequence[tuple[float, float, float]]]
    ) -> None:
        """Make ``rule`` active; ``stored`` has time, value and receipt of events, by group."""
        self.change(rule, at=at)
        (look_back,) = self.engine.look_backs
        groups = []
        for group, events in sorted(stored.items()):
            seen = [event for event in events if us(event[0]) > look_back.read_after_us]
            progress = Progress(look_back.lateness_us)
            for t, _, received in seen:
                progress.see(us(t), us(received))
            progress.close(us(at))
            seen.sort(key=lambda event: event[0])
            groups.append(
                StoredGroup(
                    labels=group,
                    times_us=array("q", [us(event[0]) for event in seen]),
                    values=array("d", [event[1] for event in seen]),
                    newest_us=progress.newest_us,
                    raised_us=progress.raised_us,
                    heard_us=progress.heard_us,
                    clock_us=progress.clock_us,
                )
            )
        told = tuple(group for group in groups if group.times_us)
        self.told += self.engine.step(Backfill(now_us=us(at), rule_id=rule.id, groups=told))

    def send(
        self,
        t: float,
        *values: float,
        at: float | None = None,
        metric: str = "m",
        **labels: str,
    ) -> None:
        """Send events of time ``t``, received at ``at`` (when they happened, if not given).

        One of value 1 if no values are given.
        """
        values = values or (1.0,)
        series_id = self.series_id(metric, tuple(sorted(labels.items())))
        batch = EventBatch(
            received_us=us(t if at is None else at),
            series_ids=array("I", [series_id] * len(values)),
            times_us=array("q", [us(t)] * len(values)),
            values=array("d", values),
        )
        self.told += self.engine.step(batch)

    def tick(self, at: float) -> None:
        """Let the clock pass ``at``."""
        self.told += self.engine.step(Tick(us(at) + 1))

    def restart(self) -> None:
        """Go on with what a snapshot of the engine says."""
        items = [
            msgpack.unpackb(msgpack.packb(item), use_list=False) for item in self.engine.dump()
        ]
        self.engine = Engine(lambda series_id: self.series[series_id])
        self.engine.load(items)

    def series_id(self, metric: str, labels: Labels) -> int:
        for series in self.series:
            if series.metric_name == metric and series.labels == labels:
                return series.id
        self.series.append(Series(len(self.series), metric, labels))
        return len(self.series) - 1

    @property
    def kinds(self) -> list[tuple[TransitionKind, float]]:
        """Every transition so far, with its instant."""
        return [(transition.kind, transition.at_us / US_PER_S) for transition in self.told]

    @property
    def incidents(self) -> list[Incident]:
        """Each incident as it was last told or is now, in order of firing."""
        found = {t.incident.id: t.incident for t in self.told if t.incident is not None}
        return list((found | {i.id: i for i in self.engine.open_incidents()}).values())

    @property
    def edges(self) -> list[Edges]:
        """The incidents, to the millisecond: the clock's last instant is never over yet."""
        return [
            (
                seconds(incident.started_us),
                seconds(incident.fired_us),
                None if incident.ended_us is None else seconds(incident.ended_us),
                incident.end_reason,
            )
            for incident in self.incidents
        ]


def seconds(time_us: int) -> float:
    return round(time_us / US_PER_S, 3)


def us(seconds: float) -> int:
    return round(seconds * US_PER_S)

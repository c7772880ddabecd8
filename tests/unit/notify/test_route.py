"""The decision table of routing: whom an incident is told, and by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from alertd.model import US_PER_S, Escalation, Target
from alertd.notify.matchers import subject_labels
from alertd.notify.route import DEFAULT_GROUP_BY, Defaults, Own, Route, destinations
from alertd.notify.settings import RouteSpec, route_problems
from alertd.outbound import Timing

S = US_PER_S
DEFAULTS = Defaults(DEFAULT_GROUP_BY, Timing(0, 10 * S))
CRITICAL = {"severity": "critical"}
ROUTES = [
    RouteSpec(matchers={"team": "=~db.*"}, channels=("db",), goes_on=True),
    RouteSpec(
        matchers=CRITICAL,
        channels=("pager", "ops"),
        group_by=("dc",),
        group_wait_secs=3,
        repeat_interval_secs=60,
        escalate_after_secs=900,
        escalate_to=("boss", "db"),
    ),
    RouteSpec(channels=("log",), group_interval_secs=300),
]
COMPILED = [spec.compiled(index, DEFAULTS) for index, spec in enumerate(ROUTES)]

TABLE = [
    # severity, group, the rule's own channels → (channel, by what, seconds until then)
    ("info", {}, (), [("log", "route[2]", 0)]),
    ("info", {"team": "db-eu"}, (), [("db", "route[0]", 0), ("log", "route[2]", 0)]),
    (
        *("critical", {}, ()),
        [("pager", "route[1]", 0), ("ops", "route[1]", 0), ("boss", "route[1]", 900),
         ("db", "route[1]", 900)],
    ),
    (
        *("critical", {"team": "db-us"}, ()),
        [("db", "route[0]", 0), ("pager", "route[1]", 0), ("ops", "route[1]", 0),
         ("boss", "route[1]", 900)],
    ),
    ("info", {}, ("mail",), [("log", "route[2]", 0), ("mail", "the rule", 0)]),
    ("info", {}, ("log",), [("log", "route[2]", 0)]),
    (
        *("critical", {}, ("boss",)),
        [("pager", "route[1]", 0), ("ops", "route[1]", 0), ("boss", "the rule", 0),
         ("db", "route[1]", 900)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("severity", "group", "own", "expected"), TABLE)
def test_the_decision_table(
    severity: str,
    group: dict[str, str],
    own: tuple[str, ...],
    expected: list[tuple[str, str, int]],
) -> None:
    labels = subject_labels("Any rule", severity, group)
    found = destinations(COMPILED, labels, Own([Target(name) for name in own], 600 * S), DEFAULTS)
    assert [(one.target.channel, one.via, one.after_us // S) for one in found] == expected


def test_what_a_route_does_not_say_is_as_the_rule_and_the_defaults_say() -> None:
    def told(severity: str) -> tuple[object, ...]:
        labels = subject_labels("Any rule", severity, {})
        first = destinations(COMPILED, labels, Own(repeat_us=600 * S), DEFAULTS)[0]
        return first.group_by, first.timing.wait_us, first.timing.interval_us, first.repeat_us

    assert told("critical") == (("dc",), 3 * S, 10 * S, 60 * S)
    assert told("info") == (DEFAULT_GROUP_BY, 0, 300 * S, 600 * S)


def test_without_routes_the_rule_alone_decides() -> None:
    labels = subject_labels("Any rule", "info", {})
    assert destinations((), labels, Own(), DEFAULTS) == []
    (only,) = destinations((), labels, Own((Target("ops"),), 7), DEFAULTS)
    assert (only.target, only.repeat_us, only.timing) == (Target("ops"), 7, DEFAULTS.timing)


def _escalates(after_s: int, *names: str) -> Escalation:
    return Escalation(after_s * S, tuple(map(Target, names)))


PAGER_FIRST = {"pager": _escalates(300, "boss"), "boss": _escalates(600, "owner")}

ESCALATIONS = [
    # the routes, the rule's own, its escalation, those of channels → (channel, by what, seconds)
    ((), ("ops",), _escalates(900, "boss"), {},
     [("ops", "the rule", 0), ("boss", "the rule", 900)]),
    ((), (), _escalates(900, "boss"), {}, [("boss", "the rule", 900)]),
    (COMPILED[2:], (), _escalates(900, "boss", "log"), {},
     [("log", "route[2]", 0), ("boss", "the rule", 900)]),
    ((), ("pager",), None, PAGER_FIRST,
     [("pager", "the rule", 0), ("boss", "channel pager", 300), ("owner", "channel boss", 900)]),
    ((), ("pager",), _escalates(60, "boss"), PAGER_FIRST,
     [("pager", "the rule", 0), ("boss", "the rule", 60), ("owner", "channel boss", 660)]),
    ((), ("pager", "boss"), None, PAGER_FIRST,
     [("pager", "the rule", 0), ("boss", "the rule", 0), ("owner", "channel boss", 600)]),
    (COMPILED[1:2], (), None, {"ops": _escalates(60, "boss")},
     [("pager", "route[1]", 0), ("ops", "route[1]", 0), ("boss", "channel ops", 60),
      ("db", "route[1]", 900)]),
    ((), ("a",), None, {"a": _escalates(5, "b"), "b": _escalates(5, "a", "b")},
     [("a", "the rule", 0), ("b", "channel a", 5)]),
]  # fmt: skip


@pytest.mark.parametrize(("routes", "own", "escalation", "channels", "expected"), ESCALATIONS)
def test_a_rule_and_a_channel_escalate_as_a_route_does(
    routes: Sequence[Route],
    own: tuple[str, ...],
    escalation: Escalation | None,
    channels: Mapping[str, Escalation],
    expected: list[tuple[str, str, int]],
) -> None:
    """Whoever is told at once is not told again; of several times the earliest counts."""
    labels = subject_labels("Any rule", "critical", {})
    says = Own([Target(name) for name in own], 600 * S, escalation)
    found = destinations(routes, labels, says, Defaults(escalations=channels))
    assert [(one.target.channel, one.via, one.after_us // S) for one in found] == expected


def test_an_escalation_is_told_in_the_way_of_what_it_follows() -> None:
    labels = subject_labels("Any rule", "critical", {})
    defaults = Defaults(escalations={"ops": _escalates(60, "boss")})
    found = destinations(COMPILED[1:2], labels, Own(repeat_us=600 * S), defaults)
    (boss,) = (one for one in found if one.target == Target("boss"))
    assert (boss.group_by, boss.timing.wait_us, boss.repeat_us) == (("dc",), 3 * S, 60 * S)


def test_a_route_that_is_never_reached_or_leads_nowhere_is_refused() -> None:
    def found(*routes: RouteSpec) -> list[tuple[int, str]]:
        known = {"db", "pager", "ops", "boss", "log"}
        return [(index, problem.path) for index, problem in route_problems(routes, known)]

    everything = RouteSpec(channels=("ops",))
    critical = RouteSpec(channels=("ops",), matchers=CRITICAL)
    narrow = RouteSpec(channels=("ops",), matchers={**CRITICAL, "team": "db"})
    assert found(*ROUTES) == []
    assert found(everything, critical) == [(1, "/matchers")]
    assert found(RouteSpec(channels=("ops",), goes_on=True), everything) == []
    assert found(critical, narrow) == [(1, "/matchers")]
    assert found(critical, critical) == [(1, "/matchers")]
    assert found(narrow, critical, everything) == []
    assert found(RouteSpec(channels=("opps",))) == [(0, "/channels/0")]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (RouteSpec(), "/channels"),
        (RouteSpec(channels=("a",), matchers={"b": "=~("}), "/matchers/b"),
        (RouteSpec(channels=("a",), group_wait_secs=-1), "/group_wait_secs"),
        (RouteSpec(channels=("a",), escalate_to=("b",)), "/escalate_to"),
        (RouteSpec(channels=("a",), escalate_after_secs=9), "/escalate_to"),
        (RouteSpec(channels=("a",), escalate_after_secs=0, escalate_to=("b",)),
         "/escalate_after_secs"),
        (RouteSpec(channels=("a",), escalate_after_secs=9, escalate_to=("a",)), "/escalate_to/0"),
    ],
)  # fmt: skip
def test_what_makes_a_route_wrong(spec: RouteSpec, path: str) -> None:
    assert [problem.path for problem in spec.problems()] == [path]

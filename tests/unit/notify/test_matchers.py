"""Matchers on incidents: which are wrong, and which can match nothing."""

from __future__ import annotations

import pytest

from alertd.model import Severity
from alertd.notify.matchers import Reach, covers, matcher_problem
from alertd.notify.silence import Silence, silence_problems
from alertd.rules import RuleSpec, parse_matcher
from tests.unit.parts import record_of


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("critical", None),
        ("!=info", None),
        ("=~warning|info", None),
        ("!~crit.*", None),
        ("=~.*", None),
        ("crit", "expected one of critical, error, warning, info, got 'crit'; did you mean 'crit"),
        ("!=crit", "got 'crit'"),
        ("page", "got 'page'"),
        ("", "got ''"),
        ("=~crit", "got 'crit'"),  # anchored, as everywhere
        ("!~.*", "got '.*'"),
    ],
)
def test_a_matcher_on_severity_is_about_one_that_there_is(text: str, says: str | None) -> None:
    problem = matcher_problem(parse_matcher("severity", text))
    assert (problem is None) == (says is None)
    assert says is None or says in str(problem)


@pytest.mark.parametrize("label", ["", "a\nb", "x" * 101])
def test_a_matcher_names_a_label(label: str) -> None:
    assert "names a label" in str(matcher_problem(parse_matcher(label, "x")))


@pytest.mark.parametrize(
    ("wide", "narrow", "is_certain"),
    [
        ({}, {"host": "a"}, True),
        ({"host": "a"}, {}, False),
        ({"host": "a"}, {"host": "=a", "dc": "b"}, True),
        ({"host": "=~web-.*"}, {"host": "web-1"}, True),
        ({"host": "=~web-.*"}, {"host": "db-1"}, False),
        ({"host": "=~web-.*"}, {"host": "=~web-1"}, False),  # it does, and nobody can tell
        ({"host": "=~web-.*"}, {"host": "=~web-.*"}, True),
        ({"host": "!=a"}, {"host": "b"}, True),
        ({"host": "!=a"}, {"host": "a"}, False),
        ({"host": "!=a"}, {"host": "!=b"}, False),
        ({"ruleName": "=~.*"}, {}, True),
        ({"host": "=~.*"}, {"host": "=~web.*"}, True),
        ({"host": "=~.*"}, {"host": "a\nb"}, False),  # `.` is no line break
        ({"host": "=~.*"}, {"host": "=~a\\nb"}, False),
        ({"severity": "!=info"}, {"severity": "=~critical|error"}, True),
        ({"severity": "!=info"}, {"severity": "=~info|error"}, False),
        ({"severity": "!=info"}, {}, False),
        ({"severity": "=~critical|error|warning|info"}, {}, True),
        ({"severity": "error", "host": "a"}, {"severity": "error"}, False),
    ],
)
def test_one_choice_covers_another_where_that_is_certain(
    wide: dict[str, str], narrow: dict[str, str], is_certain: bool
) -> None:
    of_wide, of_narrow = (
        [parse_matcher(label, text) for label, text in matchers.items()]
        for matchers in (wide, narrow)
    )
    assert covers(of_wide, of_narrow) == is_certain


def spec(name: str = "Host down", severity: str = "warning", *group_by: str) -> RuleSpec:
    return record_of(name=name, severity=Severity(severity), group_by=group_by).spec


def reach(matchers: dict[str, str]) -> Reach:
    return Reach(parse_matcher(label, text) for label, text in matchers.items())


HOSTS = spec("Host down", "warning", "host", "dc")
LOGINS = spec("Logins", "critical", "service")


@pytest.mark.parametrize(
    ("matchers", "label", "says"),
    [
        ({}, None, None),
        ({"host": "web-1"}, None, None),
        ({"host": "web-1", "dc": "=~eu.*", "severity": "warning"}, None, None),
        ({"ruleName": "=~Host.*"}, None, None),
        ({"ruleName": "!=Host down"}, None, None),
        ({"team": "!=db"}, None, None),  # a label that is missing is empty
        ({"team": ""}, None, None),
        ({"team": "db"}, "team", "no rule groups by 'team'"),
        ({"team": "=~.+"}, "team", "no rule groups by 'team'"),
        ({"rulename": "CPU"}, "rulename", "has that label; did you mean 'ruleName'?"),
        ({"hst": "a"}, "hst", "has that label; did you mean 'host'?"),
        ({"host": "web-1", "team": "db"}, "team", "no rule groups by 'team'"),
        ({"severity": "info"}, "severity", "no rule is of such a severity"),
        ({"ruleName": "Host dwn"}, "ruleName", "has such a name; did you mean 'Host down'?"),
        ({"ruleName": "=~Disk.*"}, "ruleName", "has such a name"),
        ({"host": "web-1", "severity": "critical"}, None, "match all of these"),
        ({"ruleName": "Logins", "host": "web-1"}, None, "match all of these"),
    ],
)
def test_matchers_reach_what_the_rules_can_bring_about(
    matchers: dict[str, str], label: str | None, says: str | None
) -> None:
    problem = reach(matchers).problem([HOSTS, LOGINS])
    if says is None:
        assert problem is None
    else:
        assert problem is not None
        assert problem[0] == label
        assert says in problem[1]


def test_name_and_severity_are_the_rules_own_whatever_it_groups_by() -> None:
    odd = spec("Odd", "info", "severity", "ruleName")
    assert not reach({"severity": "critical"}).includes(odd)
    assert not reach({"ruleName": "Host down"}).includes(odd)


def test_a_silence_is_held_to_the_same() -> None:
    silence = Silence(
        id="", matchers=(parse_matcher("severity", "crit"),), starts_us=0, ends_us=9, created_us=0,
        created_by="", comment="",
    )  # fmt: skip
    [problem] = silence_problems(silence, now_us=1)
    assert problem.path == "/matchers/severity"
    assert "did you mean 'critical'?" in problem.message

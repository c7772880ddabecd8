"""Names that are not known: which one was meant."""

from __future__ import annotations

import gc
import weakref

import pytest

from alertd.meant import called_here, did_you_mean, did_you_mean_among_many
from alertd.model import Operator
from alertd.notify.settings import RouteSpec
from alertd.rules import RuleSpec

SNAKE = RuleSpec.__struct_fields__
ROUTE = RouteSpec.__struct_encode_fields__
CAMEL = RuleSpec.__struct_encode_fields__
OPERATORS = tuple(operator.value for operator in Operator)


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("for", SNAKE, "for_secs"),
        ("for", CAMEL, "forSecs"),
        ("window", SNAKE, "window_duration_secs"),
        ("window", CAMEL, "windowDurationSecs"),
        ("metricName", SNAKE, "metric_name"),
        ("metric_name", CAMEL, "metricName"),
        ("treshold", SNAKE, "threshold"),
        ("=>", OPERATORS, ">="),
        ("=<", OPERATORS, "<="),
    ],
)
def test_the_nearest_known_name_is_asked_for(name: str, known: tuple[str, ...], meant: str) -> None:
    assert did_you_mean(name, known) == f"did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("key", "known", "said"),
    [
        ("expr", SNAKE, "'metric_name', 'aggregate', 'operator' and 'threshold'"),
        ("expr", CAMEL, "'metricName', 'aggregate', 'operator' and 'threshold'"),
        ("labels", SNAKE, "'severity' and 'group_by'"),
        ("labels", ROUTE, "'matchers'"),
        ("receiver", ROUTE, "'channels'"),
        ("receiver", SNAKE, "'notifications'"),
        ("matchers", ("source", "target", "equal"), "'source' and 'target'"),
    ],
)
def test_what_other_tools_say_has_the_name_that_it_has_here(
    key: str, known: tuple[str, ...], said: str
) -> None:
    assert called_here(key, known) == f"here that is {said}"


@pytest.mark.parametrize(("key", "known"), [("expr", ROUTE), ("for", SNAKE), ("", SNAKE)])
def test_what_has_no_name_here_is_not_named(key: str, known: tuple[str, ...]) -> None:
    assert called_here(key, known) is None


def test_of_many_names_nothing_is_kept() -> None:
    class Name(str):
        """A text of which it can be seen when it goes."""

    name = Name("Host down")
    gone = weakref.ref(name)
    assert did_you_mean_among_many("Host dwn", [name]) == "did you mean 'Host down'?"
    del name
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("name", ["", "_", "x", "colour"])
def test_what_is_near_to_nothing_is_not_asked_for(name: str) -> None:
    assert did_you_mean(name, ("bind", "threshold")) is None
    assert did_you_mean(name, ()) is None

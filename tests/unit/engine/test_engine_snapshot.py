from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from alertd.engine.engine import Engine
from alertd.model import Operator
from tests.unit.engine.engine_driver import Driver, bucket_rule, count_rule, make_rule

Items = list[Any]  # a dump is plain data


def busy() -> Driver:
    driver = Driver(
        count_rule(id="count", group_by=("host",)),
        make_rule(id="p90", aggregate="p90", for_=5, threshold=3.0),
        bucket_rule(id="bucket", window=30, bucket=10, lateness=5),
        count_rule(id="silent", operator=Operator.LT, threshold=1.0, metric_name="beat"),
    )
    for time in range(1, 40):
        driver.send(time, time % 7, host="ab"[time % 2])
    return driver


def dump(engine: Engine) -> Items:
    return [msgpack.unpackb(msgpack.packb(item), use_list=False) for item in engine.dump()]


def loaded(items: Items) -> Driver:
    driver = Driver()
    driver.series = busy().series
    driver.engine = Engine(lambda series_id: driver.series[series_id])
    driver.engine.load(items)
    return driver


def test_a_loaded_engine_is_the_one_that_was_dumped() -> None:
    driver = busy()
    items = dump(driver.engine)
    copy = loaded(items)
    assert dump(copy.engine) == items
    assert copy.engine.open_incidents() == driver.engine.open_incidents() != []
    assert copy.engine.rules() == driver.engine.rules()
    driver.told.clear()
    copy.told.clear()
    for each in (driver, copy):
        each.send(41, 9, host="a")
        each.tick(100)
    assert driver.told == copy.told != []
    assert dump(copy.engine) == dump(driver.engine)


def test_an_empty_engine_can_be_dumped_and_loaded() -> None:
    items = dump(Driver().engine)
    assert dump(loaded(items).engine) == items


def first(kind: str, items: Items) -> int:
    return next(place for place, item in enumerate(items) if item[0] == kind)


def replaced(place: int, *path: int, by: object) -> Callable[[Items], Items]:
    def change(items: Items) -> Items:
        def put(node: Any, rest: tuple[int, ...]) -> object:
            if not rest:
                return by
            return (*node[: rest[0]], put(node[rest[0]], rest[1:]), *node[rest[0] + 1 :])

        return [*items[:place], put(items[place], path), *items[place + 1 :]]

    return change


GROUP = first("group", dump(busy().engine))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda items: [("mystery",), *items],
        lambda items: [(), *items],
        lambda items: [None, *items],
        lambda items: [17, *items],
        lambda items: items[GROUP:],
        lambda items: items[1:],
        lambda items: [],
        replaced(0, 1, by=99),
        replaced(0, 2, by="now"),
        replaced(0, by=("engine", 1)),
        replaced(1, 1, by={"id": "r"}),
        replaced(1, by=("rule",)),
        replaced(GROUP, 1, by="labels"),
        replaced(GROUP, 2, by=()),
        replaced(GROUP, 2, by=None),
        replaced(GROUP, 2, 0, by=(1, 2)),
        replaced(GROUP, 2, 1, by=(9,)),
        replaced(GROUP, 2, 1, 0, 0, by=77),
        replaced(GROUP, 2, 1, 0, 5, by="no such reason"),
        replaced(GROUP, 2, 1, 3, 1, by="no changes"),
        replaced(GROUP, 2, 2, 0, by=b"123"),
        replaced(GROUP, 2, 2, 1, by=b""),
        replaced(GROUP, 2, 3, by="asleep"),
    ],
)
def test_what_is_not_a_dump_is_refused_with_a_value_error(spoil: Callable[[Items], Items]) -> None:
    items = spoil(dump(busy().engine))
    with pytest.raises(ValueError, match=r".+"):
        loaded(items)

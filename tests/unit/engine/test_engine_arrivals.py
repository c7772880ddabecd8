"""How events come to those who see them, one by one."""

from __future__ import annotations

from array import array

from alertd.engine.arrivals import each_event
from alertd.engine.group import Group
from alertd.engine.routing import Watcher
from alertd.model import EventBatch
from tests.unit.engine.engine_driver import Driver, make_rule, us


def groups(count: int) -> list[Group]:
    driver = Driver(make_rule(group_by=("host",)))
    for number in range(count):
        driver.send(1, 0.0, host=f"h{number}")
    found = [driver.engine._router.group("r", (("host", f"h{n}"),)) for n in range(count)]
    return [group for group in found if group is not None]


def test_each_event_comes_to_all_who_see_it_and_those_of_one_time_have_one_object_for_it() -> None:
    one, other, third = groups(3)
    routes: list[Watcher | tuple[Watcher, ...]] = [one, other, (one, third), third]
    batch = EventBatch(
        received_us=us(9),
        series_ids=array("I", range(4)),
        times_us=array("q", [us(7), us(7), us(7), us(8)]),
        values=array("d", [0.0, 1.0, 2.0, 3.0]),
    )
    arrived = list(each_event(routes, batch))
    assert [time_us for _, time_us, _ in arrived] == [us(7), us(7), us(7), us(7), us(8)]
    assert [value for _, _, value in arrived] == [0.0, 1.0, 2.0, 2.0, 3.0]
    assert [watcher for watcher, _, _ in arrived] == [one, other, one, third, third]
    assert len({id(time_us) for _, time_us, _ in arrived}) == 2

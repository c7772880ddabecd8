"""``alertd events``: what it reads, and how it shows it."""

from __future__ import annotations

import json
import time
from array import array
from pathlib import Path

import pytest
import trio

from alertd.model import EventBatch, Series
from alertd.store.store import open_store
from tests.unit.cli.terminals import at_a_terminal
from tests.unit.cli.test_cli import invoked
from tests.unit.store.store_samples import change_directly

NOW_US = time.time_ns() // 1000
MINUTE_US = 60_000_000
EVENTS = 2500


async def fill(path: Path) -> None:
    async with open_store(path) as store:
        series = [
            Series(0, "cpu", (("host", "a[b]"),)),
            Series(1, "cpu", (("host", "b"),)),
            Series(2, "errors", ()),
        ]
        numbers = range(EVENTS)
        batch = EventBatch(
            received_us=NOW_US,
            series_ids=array("I", [number % 3 for number in numbers]),
            times_us=array("q", [NOW_US - number * MINUTE_US for number in numbers]),
            values=array("d", [number / 4 for number in numbers]),
            ids=tuple(f"id-{number}" if number == 0 else None for number in numbers),
        )
        await store.events.append([batch], series)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("events") / "alertd.db"
    trio.run(fill, path)
    return path


def listed(path: Path, *arguments: str) -> list[dict[str, object]]:
    result = invoked("events", "--store", str(path), *arguments)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_pipe_gets_one_line_of_json_for_each_event_in_time_order(path: Path) -> None:
    items = listed(path, "--limit", "0")
    assert [item["value"] for item in items] == [n / 4 for n in reversed(range(EVENTS))]
    last = items[-1]
    assert (last["metricName"], last["labels"], last["id"]) == ("cpu", {"host": "a[b]"}, "id-0")


def test_a_metric_that_there_is_not_is_told_with_the_one_that_may_be_meant(path: Path) -> None:
    for metric, options, told in (
        ("error", (), "there is no metric 'error'; did you mean 'errors'?\n"),
        ("error", ("--resolution", "60"), "there is no metric 'error'; did you mean 'errors'?\n"),
        ("zzz", (), "there is no metric 'zzz'\n"),
        ("errors", ("--label", "host=none"), ""),
    ):
        done = invoked("events", "--store", str(path), "--metric", metric, *options)
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", told)


def test_filters_narrow_it_down(path: Path) -> None:
    since = str((NOW_US - 59 * MINUTE_US) // 1_000_000)
    items = listed(path, "--metric", "cpu", "--label", "host=b", "--from", since, "--limit", "0")
    assert [item["value"] for item in items] == [n / 4 for n in range(58, 0, -3)]
    assert len(listed(path, "--from", "2d", "--limit", "0")) == EVENTS
    assert listed(path, "--to", "2d") == []
    until = str((NOW_US - 2490 * MINUTE_US) // 1_000_000)
    assert len(listed(path, "--to", until)) == 9


def test_events_are_summed_up_by_time(path: Path) -> None:
    items = listed(path, "--metric", "errors", "--resolution", "3600", "--limit", "0")
    assert set(items[0]) == {"metricName", "timestamp", "labels", "count", "sum", "min", "max"}
    numbers = range(2, EVENTS, 3)
    assert sum(int(str(item["count"])) for item in items) == len(numbers)
    assert sum(float(str(item["sum"])) for item in items) == sum(numbers) / 4
    code, text = at_a_terminal("events", "--store", path, "--resolution", "3600", "--from", "3h")
    assert (code, "sum" in text) == (0, True)


def test_what_is_left_out_is_told(path: Path) -> None:
    result = invoked("events", "--store", str(path), "--limit", "2")
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == "there are more than 2; see --limit\n"
    assert not invoked("events", "--store", str(path), "--limit", str(EVENTS)).stderr


def test_a_terminal_gets_a_table(path: Path) -> None:
    code, text = at_a_terminal("events", "--store", path, "--from", "90m")
    assert code == 0
    assert "host=a[b]" in text
    assert "id-0" in text
    assert " 14.75\r" in text
    code, text = at_a_terminal("events", "--store", path, "--metric", "none")
    assert (code, "no such event" in text) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "yesterday"), "how long ago, like 15m"),
        (("--to", "1751295600123"), "milliseconds"),
        (("--label", "host"), "NAME=VALUE"),
        (("--label", "host=b", "--label", "host=a[b]"), "'host' is there 2 times"),
        (("--limit", "-1"), "--limit"),
        (("--resolution", "90"), "multiple of 60"),
        (("--from", "1h", "--to", "2h"), "--to: must not be before --from"),
    ],
)
def test_what_makes_no_sense_exits_2(path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = invoked("events", "--store", str(path), *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_terminal_shows_values_exactly_and_times_in_one_piece(tmp_path: Path) -> None:
    async def fill_with_odd_numbers() -> None:
        async with open_store(tmp_path / "a.db") as store:
            labels = (("host", "a-host-with-a-long-name.example.org"), ("service", "checkout"))
            batch = EventBatch(
                received_us=NOW_US,
                series_ids=array("I", [0, 0]),
                times_us=array("q", [1_751_295_600_000_001, 1_751_295_600_000_002]),
                values=array("d", [1_234_567.0, 0.1 + 0.2]),
            )
            await store.events.append([batch], [Series(0, "latency_ms", labels)])

    trio.run(fill_with_odd_numbers)
    code, text = at_a_terminal("events", "--store", tmp_path / "a.db", columns=80)
    assert code == 0
    assert "2025-06-30T15:00:00.000001Z" in text
    assert " 1234567\r" in text
    assert " 0.30000000000000004\r" in text
    summed = at_a_terminal("events", "--store", tmp_path / "a.db", "--resolution", "60")[1]
    assert " 1234567.3 " in summed


def test_a_store_that_is_missing_exits_3_and_a_damaged_one_4(tmp_path: Path) -> None:
    missing = invoked("events", "--store", str(tmp_path / "none.db"))
    assert (missing.exit_code, "there is no database" in missing.stderr) == (3, True)
    trio.run(fill, tmp_path / "a.db")
    change_directly(tmp_path / "a.db", "UPDATE event_log SET body = zeroblob(20)")
    damaged = invoked("events", "--store", str(tmp_path / "a.db"))
    assert (damaged.exit_code, "entry 1" in damaged.stderr) == (4, True)


def test_a_running_daemon_is_no_obstacle(tmp_path: Path) -> None:
    async def read_while_open() -> None:
        async with open_store(tmp_path / "a.db") as store:
            await store.events.append([], [Series(0, "m", ())])
            batch = EventBatch(
                received_us=NOW_US,
                series_ids=array("I", [0]),
                times_us=array("q", [NOW_US]),
                values=array("d", [1.0]),
            )
            await store.events.append([batch], [])
            at_once = await trio.to_thread.run_sync(listed, tmp_path / "a.db")
            assert len(at_once) == 1

    trio.run(read_while_open)

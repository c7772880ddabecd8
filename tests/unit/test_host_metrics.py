"""Samples of this machine: the arithmetic on made-up readings, the reading on the real host."""

from __future__ import annotations

import math
import shutil
from typing import Any

import msgspec
import psutil
import pytest
import structlog
import trio

from alertd.config.settings import HostMetricsConfig
from alertd.errors import Overloaded
from alertd.host_metrics import HostMetrics, Reading, Sample, read, sample
from alertd.ingest.intake import Draft, Receipt
from alertd.ingest.series import SeriesRegistry

GIB = 2**30


def reading(**changes: Any) -> Reading:
    values: dict[str, Any] = {
        "monotonic_s": 100.0,
        "cpu_busy_s": 1000.0,
        "cpu_total_s": 5000.0,
        "cores": 4,
        "load": (1.0, 2.0, 3.0),
        "memory_total_bytes": 8 * GIB,
        "memory_available_bytes": 2 * GIB,
        "swap_total_bytes": 0,
        "swap_used_bytes": 0,
        "disk_used_percent": {"/": 40.0},
        "disk_bytes": (1000, 2000),
        "network_bytes": {"eth0": (10_000, 20_000)},
    }
    return Reading(**{**values, **changes})


def by_name(samples: list[Sample]) -> dict[str, float]:
    """Return the values by metric and labels, as ``metric{label=value}``."""
    return {
        s.metric_name + "".join(f"{{{k}={v}}}" for k, v in s.labels.items()): s.value
        for s in samples
    }


def test_the_first_sample_has_levels_and_no_rates() -> None:
    assert by_name(sample(None, reading())) == {
        "host_load1": 1.0,
        "host_load5": 2.0,
        "host_load15": 3.0,
        "host_load5_per_core": 0.5,
        "host_memory_available_bytes": 2.0 * GIB,
        "host_memory_used_percent": 75.0,
        "host_disk_used_percent{mount=/}": 40.0,
    }


def test_rates_are_averages_since_the_sample_before() -> None:
    later = reading(
        monotonic_s=105.0,
        cpu_busy_s=1015.0,
        cpu_total_s=5020.0,
        disk_bytes=(6000, 2000),
        network_bytes={"eth0": (10_050, 21_000)},
        swap_total_bytes=4 * GIB,
        swap_used_bytes=GIB,
    )
    new = by_name(sample(reading(), later)).items() - by_name(sample(None, reading())).items()
    assert dict(new) == {
        "host_cpu_percent": 75.0,
        "host_swap_used_percent": 25.0,
        "host_disk_read_bytes_per_second": 1000.0,
        "host_disk_write_bytes_per_second": 0.0,
        "host_network_receive_bytes_per_second{interface=eth0}": 10.0,
        "host_network_transmit_bytes_per_second{interface=eth0}": 200.0,
    }


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"network_bytes": {"eth0": (5, 5)}}, "host_network"),
        ({"network_bytes": {"eth1": (5, 5)}}, "host_network"),
        ({"disk_bytes": (0, 0)}, "host_disk_read"),
        ({"disk_bytes": None}, "host_disk_write"),
        ({"cpu_total_s": 5000.0}, "host_cpu"),
        ({"monotonic_s": 100.0}, "host_network"),
    ],
)
def test_a_rate_that_cannot_be_known_is_not_given(changes: dict[str, Any], absent: str) -> None:
    later = reading(**{"monotonic_s": 105.0, "cpu_total_s": 5020.0, **changes})
    names = by_name(sample(reading(), later))
    assert not [name for name in names if name.startswith(absent)]


def test_an_idle_counter_that_steps_back_does_not_leave_0_to_100() -> None:
    back = reading(cpu_busy_s=999.9, cpu_total_s=5020.0)
    assert by_name(sample(reading(), back))["host_cpu_percent"] == 0.0


def test_the_real_host_is_read() -> None:
    before = read()
    values = by_name(sample(before, read()))
    total_bytes = psutil.virtual_memory().total
    assert all(math.isfinite(value) and value >= 0 for value in values.values())
    assert all(value <= 100 for name, value in values.items() if "percent" in name)
    assert 0 < values["host_memory_available_bytes"] < total_bytes
    usage = shutil.disk_usage("/")
    if "host_disk_used_percent{mount=/}" in values:
        used = 100 * usage.used / (usage.used + usage.free)
        assert values["host_disk_used_percent{mount=/}"] == pytest.approx(used, abs=1)
    assert not [name for name in values if "interface=lo}" in name]


class Door:
    """An intake that can be closed; it keeps what it was given."""

    def __init__(self) -> None:
        self.registry = SeriesRegistry()
        self.drafts: list[tuple[float, Draft]] = []
        self.is_closed = False
        self.progress = trio.Event()

    def now_us(self) -> int:
        return 1_700_000_000_000_000

    async def submit(self, draft: Draft, received_us: int) -> Receipt:
        await trio.lowlevel.checkpoint()
        self.progress.set()
        self.progress = trio.Event()
        if self.is_closed:
            raise Overloaded("the queue is full", 1)
        self.drafts.append((trio.current_time(), draft))
        assert set(draft.times_us) == {received_us}
        return Receipt(len(draft.series_ids), 0, 0, ())


async def test_samples_become_events_with_the_hosts_name() -> None:
    door = Door()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(HostMetrics(door, host="box").run, HostMetricsConfig(interval_secs=0.5))
        with trio.fail_after(5):
            while len(door.drafts) < 2:
                await door.progress.wait()
        nursery.cancel_scope.cancel()
    (first_s, first), (second_s, second) = door.drafts
    assert len(first.series_ids) == len(first.times_us) == len(first.values)
    names = [door.registry.get(number) for number in second.series_ids]
    assert "host_cpu_percent" in {series.metric_name for series in names}
    assert {dict(series.labels)["host"] for series in names} == {"box"}
    assert second_s - first_s == pytest.approx(0.5, abs=0.4)
    assert "host_cpu_percent" not in {
        door.registry.get(number).metric_name for number in first.series_ids
    }


async def test_a_full_queue_skips_samples_and_is_told_once() -> None:
    door = Door()
    door.is_closed = True
    config = msgspec.structs.replace(HostMetricsConfig(), interval_secs=0.01)
    with structlog.testing.capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(HostMetrics(door).run, config)
            with trio.fail_after(5):
                for _ in range(3):
                    await door.progress.wait()
                door.is_closed = False
                while not door.drafts:
                    await door.progress.wait()
            nursery.cancel_scope.cancel()
    assert [line["event"] for line in lines] == [
        "host_metrics_failed",
        "host_metrics_work_again",
    ]

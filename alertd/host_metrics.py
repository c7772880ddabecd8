"""The state of the machine as ordinary events: rules have something to watch at once.

Every event has the label ``host``, the machine's name.

| metric                                  | unit    | labels    | what it is                    |
|-----------------------------------------|---------|-----------|-------------------------------|
| host_cpu_percent                        | percent |           | busy share of all cores       |
| host_load1, host_load5, host_load15     | tasks   |           | load averages of the kernel   |
| host_load5_per_core                     | tasks   |           | host_load5 by number of cores |
| host_memory_used_percent                | percent |           | what is not available         |
| host_memory_available_bytes             | bytes   |           | can be had without swapping   |
| host_swap_used_percent                  | percent |           | only where there is swap      |
| host_disk_used_percent                  | percent | mount     | as ``df`` shows, local disks  |
| host_disk_read_bytes_per_second         | bytes/s |           | all physical disks together   |
| host_disk_write_bytes_per_second        | bytes/s |           | all physical disks together   |
| host_network_receive_bytes_per_second   | bytes/s | interface | without ``lo`` and ``veth…``  |
| host_network_transmit_bytes_per_second  | bytes/s | interface | without ``lo`` and ``veth…``  |

Percentages of CPU and rates per second are averages since the sample before; the first sample
has none, nor has a counter that went backwards (a driver that was loaded again).

Owns reading the kernel's counters (``read``), the arithmetic (``sample``, pure) and the loop.
A sample that cannot be read or submitted is skipped, with one line in the log, and the next one
is tried: a newer sample is worth more than an older one.
"""

from __future__ import annotations

import math
import os
import socket
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import psutil
import structlog
import trio

from alertd.config.settings import HostMetricsConfig
from alertd.errors import AlertdError
from alertd.ingest.intake import Draft, Receipt
from alertd.ingest.series import SeriesRegistry

MAX_LABELLED: Final = 64
"""At most so many mounts and so many interfaces are looked at, the first by name."""

_log = structlog.get_logger(__name__)


class Sample(NamedTuple):
    """One event: the metric, its labels without ``host``, and its value."""

    metric_name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the kernel's counters and gauges say at one moment."""

    monotonic_s: float
    cpu_busy_s: float
    """Summed over the cores since boot, like ``cpu_total_s``."""
    cpu_total_s: float
    cores: int
    load: tuple[float, float, float]
    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int
    swap_used_bytes: int
    disk_used_percent: Mapping[str, float]
    """By mount point."""
    disk_bytes: tuple[int, int] | None
    """Read and written since boot; None where no physical disk can be seen."""
    network_bytes: Mapping[str, tuple[int, int]]
    """Received and transmitted since boot, by interface."""


def read() -> Reading:
    """Read the kernel's counters. Cost: about a millisecond; a dead disk can make it block."""
    cpu = psutil.cpu_times()
    # The kernel counts a guest's time in user and nice already.
    total_s = sum(cpu) - cpu.guest - cpu.guest_nice
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return Reading(
        monotonic_s=time.monotonic(),
        cpu_busy_s=total_s - cpu.idle - cpu.iowait,
        cpu_total_s=total_s,
        cores=psutil.cpu_count() or 1,
        load=os.getloadavg(),
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        swap_total_bytes=swap.total,
        swap_used_bytes=swap.used,
        disk_used_percent=dict(_read_mounts()),
        disk_bytes=_read_disk_bytes(),
        network_bytes=_read_network_bytes(),
    )


def sample(previous: Reading | None, now: Reading) -> list[Sample]:
    """Return what ``now`` says, and, with the reading before it, what has happened since."""
    load1, load5, load15 = now.load
    samples = [
        Sample("host_load1", {}, load1),
        Sample("host_load5", {}, load5),
        Sample("host_load15", {}, load15),
        Sample("host_load5_per_core", {}, load5 / now.cores),
        Sample("host_memory_available_bytes", {}, float(now.memory_available_bytes)),
    ]
    used_bytes = now.memory_total_bytes - now.memory_available_bytes
    samples += _percent("host_memory_used_percent", used_bytes, now.memory_total_bytes)
    samples += _percent("host_swap_used_percent", now.swap_used_bytes, now.swap_total_bytes)
    for mount, percent in now.disk_used_percent.items():
        samples.append(Sample("host_disk_used_percent", {"mount": mount}, percent))
    if previous is not None:
        samples += _since(previous, now)
    return samples


def _since(previous: Reading, now: Reading) -> Iterator[Sample]:
    busy_s = now.cpu_busy_s - previous.cpu_busy_s
    yield from _percent("host_cpu_percent", busy_s, now.cpu_total_s - previous.cpu_total_s)
    elapsed_s = now.monotonic_s - previous.monotonic_s
    if elapsed_s <= 0:
        return
    if previous.disk_bytes is not None and now.disk_bytes is not None:
        names = ("host_disk_read_bytes_per_second", "host_disk_write_bytes_per_second")
        yield from _rates(names, {}, previous.disk_bytes, now.disk_bytes, elapsed_s)
    names = ("host_network_receive_bytes_per_second", "host_network_transmit_bytes_per_second")
    for interface, counters in now.network_bytes.items():
        before = previous.network_bytes.get(interface, (math.inf, math.inf))
        yield from _rates(names, {"interface": interface}, before, counters, elapsed_s)


def _percent(metric_name: str, part: float, whole: float) -> Iterator[Sample]:
    """Yield the share, if there is a whole; the kernel's idle time can go back by a tick."""
    if whole > 0:
        yield Sample(metric_name, {}, min(max(100 * part / whole, 0.0), 100.0))


def _rates(
    names: tuple[str, str],
    labels: Mapping[str, str],
    before: tuple[float, float],
    now: tuple[float, float],
    elapsed_s: float,
) -> Iterator[Sample]:
    for name, first, last in zip(names, before, now, strict=True):
        if last >= first:
            yield Sample(name, labels, (last - first) / elapsed_s)


def _read_mounts() -> Iterator[tuple[str, float]]:
    """Yield the used share of each local disk once, though it may be mounted in many places."""
    seen: set[str] = set()
    partitions = psutil.disk_partitions(all=False)
    for partition in sorted(partitions, key=lambda p: (len(p.mountpoint), p.mountpoint)):
        # A loop device is the image of a package and always full.
        if partition.device in seen or partition.device.startswith("/dev/loop"):
            continue
        if len(seen) == MAX_LABELLED:
            return
        try:
            usage = psutil.disk_usage(partition.mountpoint)
        except OSError:
            continue  # unmounted since, or not ours to look at
        if usage.total > 0:
            seen.add(partition.device)
            yield partition.mountpoint, usage.percent


def _read_disk_bytes() -> tuple[int, int] | None:
    """Return the sums over physical disks: partitions, LVM and RAID would count bytes twice."""
    disks = psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
    physical = [disk for name, disk in disks.items() if os.path.exists(f"/sys/block/{name}/device")]
    if not physical:
        return None
    return sum(disk.read_bytes for disk in physical), sum(disk.write_bytes for disk in physical)


def _read_network_bytes() -> dict[str, tuple[int, int]]:
    counters = psutil.net_io_counters(pernic=True, nowrap=False) or {}
    names = sorted(name for name in counters if name != "lo" and not name.startswith("veth"))
    return {
        name: (counters[name].bytes_recv, counters[name].bytes_sent)
        for name in names[:MAX_LABELLED]
    }


class EventDoor(Protocol):
    """Where the events go: ``Intake``."""

    @property
    def registry(self) -> SeriesRegistry:
        """The series by name."""

    def now_us(self) -> int:
        """Return the moment of receipt."""
        ...

    async def submit(self, draft: Draft, received_us: int) -> Receipt:
        """Store ``draft``; raises ``AlertdError`` if that cannot be done now."""
        ...


class HostMetrics:
    """The loop that turns readings into events."""

    def __init__(self, intake: EventDoor, *, host: str | None = None) -> None:
        """``host`` is the label's value; default: this machine's name."""
        self._intake = intake
        self._host = host or socket.gethostname() or "localhost"
        self._has_failed = False

    async def run(self, config: HostMetricsConfig) -> None:
        """Submit a sample every ``config.interval_secs`` until cancelled.

        A reading that blocks (a dead disk) holds up the next ones, and nothing else. After a
        failure rates are averages since the last sample that was stored.
        """
        previous: Reading | None = None
        due_s = trio.current_time()
        while True:
            try:
                now = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
                await self._submit(sample(previous, now))
            except (AlertdError, OSError, NotImplementedError) as error:
                if not self._has_failed:
                    _log.warning("host_metrics_failed", error=str(error) or repr(error))
                self._has_failed = True
            else:
                previous = now
                if self._has_failed:
                    _log.info("host_metrics_work_again")
                self._has_failed = False
            due_s = max(due_s + config.interval_secs, trio.current_time())
            await trio.sleep_until(due_s)

    async def _submit(self, samples: list[Sample]) -> None:
        received_us = self._intake.now_us()
        await self._intake.submit(self._draft(samples, received_us), received_us)

    def _draft(self, samples: list[Sample], received_us: int) -> Draft:
        resolve = self._intake.registry.resolve
        numbers = [resolve(s.metric_name, {**s.labels, "host": self._host}) for s in samples]
        return Draft(
            series_ids=array("I", numbers),
            times_us=array("q", [received_us] * len(samples)),
            values=array("d", [s.value for s in samples]),
        )

"""Which machine the figures were made on: a figure without it means nothing.

Linux only (``/proc``).
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from bench.results import Machine


def describe(folder: Path) -> Machine:
    """Return the facts; ``folder`` is the one that holds the stores."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        kernel=platform.release(),
        filesystem=_filesystem(folder.resolve()),
        load_average=os.getloadavg()[0],
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """Return the type of the file system that ``folder`` is on."""
    mounts = {Path(disk.mountpoint): disk.fstype for disk in psutil.disk_partitions(all=True)}
    for path in (folder, *folder.parents):
        if path in mounts:
            return mounts[path]
    return "unknown"

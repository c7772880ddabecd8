"""What the operating system knows of a process and of the machine. Linux only (``/proc``)."""

from __future__ import annotations

from pathlib import Path

import psutil


class Facts:
    """CPU time and memory of a running process."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    def cpu_s(self) -> float:
        """Return the CPU time that it has used, all threads, user and system."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def resident_bytes(self) -> int:
        """Return its resident memory now."""
        return int(self._process.memory_info().rss)

    def peak_bytes(self) -> int:
        """Return its greatest resident memory so far (``VmHWM``, proc(5))."""
        text = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(text.split("VmHWM:")[1].split()[0]) * 1024


def machine_cpu_s() -> tuple[float, float]:
    """Return how long all cores have worked, and how long they were kept from it."""
    times = psutil.cpu_times()
    worked_s = times.user + times.nice + times.system + times.irq + times.softirq
    return float(worked_s), float(times.steal)


def bytes_in(folder: Path) -> int:
    """Return the size of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

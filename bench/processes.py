"""Processes: those to be measured, and the benchmark's own; and what is known of any of them.

Owns a process from its start to its end, in order if it can be; one that is to be measured has a
folder, which is removed then. Linux only (``/proc``).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

GIVE_UP_S: Final = 30.0
POLL_S: Final = 0.005


class OwnProcess:
    """One of the benchmark's modules in a process of its own, for as long as the context lasts.

    It is spoken to by its standard input and output, and is to end when its input does.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._arguments = [sys.executable, "-m", module, *arguments]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        written, _ = self._process.communicate(timeout=GIVE_UP_S)
        if error is None:
            self._take(written)

    def _take(self, written: bytes) -> None:
        """Do what is to be done with what it has written that was not read."""


class Program(ABC):
    """A process with a new folder under ``parent``, for as long as the context lasts."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="alertd-bench-", dir=parent))
        self._log_path = self._folder / "log"

    def __enter__(self) -> Self:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(self._arguments(), stdout=log, stderr=log)
        try:
            self.facts = Facts(self._process.pid)
            self._wait_until_it_is_up()
            self._prepare()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self._end_of_log(), file=sys.stderr)
        self._end()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(GIVE_UP_S)

    def remove(self) -> None:
        """Remove its folder, if that is still there."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def settle(self) -> None:  # noqa: B027 - what it has answered may be all that it does
        """Return when it has done all that it does with what it was sent."""

    def come_to_rest(self) -> None:  # noqa: B027 - likewise
        """Return when it has done, too, what it puts off while it is busy."""

    @abstractmethod
    def stored_bytes(self) -> int:
        """Return what it has on disk."""

    @abstractmethod
    def _arguments(self) -> list[str]:
        """Return how it is started."""

    @abstractmethod
    def _is_up(self) -> bool:
        """Return whether it takes events."""

    def _prepare(self) -> None:  # noqa: B027 - nothing is a way to be prepared
        """Do what is to be done before the first event."""

    def _wait_until_it_is_up(self) -> None:
        deadline_s = time.monotonic() + GIVE_UP_S
        while not self._is_up():
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                raise RuntimeError(f"{type(self).__name__} did not start: {self._end_of_log()}")
            time.sleep(POLL_S)

    def _end_of_log(self) -> str:
        return self._log_path.read_text(errors="replace")[-4000:]

    def _end(self) -> None:
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.remove()


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

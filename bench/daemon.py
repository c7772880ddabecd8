"""A daemon to be measured: a real process on a real port, with its store on a real disk.

Owns its start on a configuration, its orderly end, and what the operating system knows of it:
CPU time, resident memory, bytes in its folder. Linux only (``/proc``).
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

GIVE_UP_S = 30.0
_POLL_S = 0.005

_CONFIG = """
[server]
bind = "127.0.0.1:0"
[store]
path = "{store}"
durability = "full"
{store_options}
[logging]
format = "json"
level = "info"
"""


class Daemon:
    """``alertd run`` with ``config`` (TOML) in a new folder under ``parent``, until the end."""

    def __init__(self, parent: Path, config: str, *, store_options: str = "") -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="alertd-bench-", dir=parent))
        self._log_path = self._folder / "log"
        self.store = self._folder / "state" / "alertd.db"
        self._config_path = self._folder / "alertd.toml"
        head = _CONFIG.format(store=self.store, store_options=store_options)
        self._config_path.write_text(head + config, encoding="utf-8")
        self.host, self.port = "", 0

    def __enter__(self) -> Self:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "alertd", "run", "--config", str(self._config_path)],
                stderr=log,
                stdout=log,
            )
        try:
            self._facts = psutil.Process(self._process.pid)
            host, _, port = self._wait_for_address().rpartition(":")
            self.host, self.port = host, int(port)
            self._connection = HTTPConnection(self.host, self.port, timeout=GIVE_UP_S)
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
            print(self._log_path.read_text(errors="replace")[-4000:], file=sys.stderr)
        self._end()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(GIVE_UP_S)

    def _end(self) -> None:
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.remove()

    def remove(self) -> None:
        """Remove its folder, if that is still there."""
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---- what it says

    def status(self) -> dict[str, Any]:  # Any: JSON
        """Return ``/api/status``."""
        self._connection.request("GET", "/api/status")
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return dict(json.loads(body))

    def wait_until_judged(self) -> None:
        """Return when the rules have judged everything that was accepted."""
        deadline_s = time.monotonic() + GIVE_UP_S
        while self.status()["lagSecs"] > 0:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"events wait to be judged for more than {GIVE_UP_S:g} s")
            time.sleep(_POLL_S)

    # ---- what the operating system says

    def cpu_s(self) -> float:
        """Return the CPU time that it has used, all threads, user and system."""
        times = self._facts.cpu_times()
        return float(times.user + times.system)

    def resident_bytes(self) -> int:
        """Return its resident memory now."""
        return int(self._facts.memory_info().rss)

    def peak_bytes(self) -> int:
        """Return its greatest resident memory so far (``VmHWM``, proc(5))."""
        text = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(text.split("VmHWM:")[1].split()[0]) * 1024

    def stored_bytes(self) -> int:
        """Return the size of the database and its write-ahead log; snapshots are apart."""
        files = [self.store, self.store.with_name(self.store.name + "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def _wait_for_address(self) -> str:
        deadline_s = time.monotonic() + GIVE_UP_S
        address = ""
        while time.monotonic() < deadline_s:
            ended = self._process.poll() is not None
            for line in self._log_path.read_text(errors="replace").splitlines():
                if '"listening"' in line:
                    address = str(json.loads(line)["address"])
                elif '"event": "ready"' in line:
                    return address
            if ended:
                break
            time.sleep(_POLL_S)
        raise RuntimeError(f"the daemon did not start: {self._log_path.read_text()[-4000:]}")

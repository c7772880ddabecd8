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
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.processes import Facts

GIVE_UP_S = 30.0
_POLL_S = 0.005

_CONFIG = """
[server]
bind = "127.0.0.1:0"
[lines]
bind = "127.0.0.1:0"
socket = "{lines}"
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
        self.socket = self._folder / "lines.sock"
        """Where it takes lines."""
        head = _CONFIG.format(store=self.store, lines=self.socket, store_options=store_options)
        self._config_path.write_text(head + config, encoding="utf-8")
        self.host, self.port = "", 0
        self.address = self.lines_address = ""

    def __enter__(self) -> Self:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "alertd", "run", "--config", str(self._config_path)],
                stderr=log,
                stdout=log,
            )
        try:
            self.facts = Facts(self._process.pid)
            addresses = self._wait_until_ready()
            (self.address,) = addresses["listening"]
            self.host, _, port = self.address.rpartition(":")
            self.port = int(port)
            self.lines_address = next(
                each for each in addresses["listening for lines"] if each != str(self.socket)
            )
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

    def settle(self) -> None:
        """Return when the rules have judged everything that was accepted."""
        deadline_s = time.monotonic() + GIVE_UP_S
        while self.status()["lagSecs"] > 0:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"events wait to be judged for more than {GIVE_UP_S:g} s")
            time.sleep(_POLL_S)

    # ---- what the operating system says

    def stored_bytes(self) -> int:
        """Return the size of the database and its write-ahead log; snapshots are apart."""
        files = [self.store, self.store.with_name(self.store.name + "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def _wait_until_ready(self) -> Mapping[str, list[str]]:
        """Return where it listens, by what its log says of it, once it is ready."""
        deadline_s = time.monotonic() + GIVE_UP_S
        while time.monotonic() < deadline_s:
            ended = self._process.poll() is not None
            addresses: dict[str, list[str]] = {}
            whole, _, _ = self._log_path.read_text().rpartition("\n")
            for line in map(json.loads, whole.splitlines()):
                if line["event"] == "ready":
                    return addresses
                if "address" in line:
                    addresses.setdefault(line["event"], []).append(line["address"])
            if ended:
                break
            time.sleep(_POLL_S)
        raise RuntimeError(f"the daemon did not start: {self._log_path.read_text()[-4000:]}")

"""A daemon to be measured: a real process on a real port, with its store on a real disk.

Owns its configuration, where it listens, and what it says of itself.
"""

from __future__ import annotations

import json
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from alertd.config.settings import StoreConfig
from alertd.pipeline.appender import MAX_JOINED_EVENTS
from bench.processes import GIVE_UP_S, POLL_S, Program

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


_SEGMENT_EVENTS = StoreConfig().fold_after_events


class Daemon(Program):
    """``alertd run`` with ``config`` (TOML) in a new folder under ``parent``, until the end."""

    def __init__(self, parent: Path, config: str, *, store_options: str = "") -> None:
        super().__init__(parent)
        self.store = self._folder / "state" / "alertd.db"
        self._config_path = self._folder / "alertd.toml"
        self.socket = self._folder / "lines.sock"
        """Where it takes lines."""
        head = _CONFIG.format(store=self.store, lines=self.socket, store_options=store_options)
        self._config_path.write_text(head + config, encoding="utf-8")

    def _arguments(self) -> list[str]:
        return [sys.executable, "-m", "alertd", "run", "--config", str(self._config_path)]

    def _is_up(self) -> bool:
        return any(line["event"] == "ready" for line in self._log())

    def _prepare(self) -> None:
        addresses = [(line["event"], line["address"]) for line in self._log() if "address" in line]
        self.address = next(where for what, where in addresses if what == "listening")
        self.lines_address = next(
            where
            for what, where in addresses
            if what == "listening for lines" and where != str(self.socket)
        )
        self.host, _, port = self.address.rpartition(":")
        self.port = int(port)
        self._connection = self.connect()

    def connect(self) -> HTTPConnection:
        """Return a connection of its own for whoever asks it something."""
        return HTTPConnection(self.host, self.port, timeout=GIVE_UP_S)

    # ---- what it says

    def _log(self) -> list[dict[str, Any]]:  # Any: JSON
        """Return the lines of its log, without one that is still being written."""
        whole, _, _ = self._log_path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def status(self) -> dict[str, Any]:  # Any: JSON
        """Return ``/api/status``."""
        self._connection.request("GET", "/api/status")
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return dict(json.loads(body))

    def settle(self, *, ask_every_s: float = POLL_S) -> None:
        """Return when the rules have judged everything that was accepted."""
        deadline_s = time.monotonic() + GIVE_UP_S
        while self.status()["lagSecs"] > 0:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"events wait to be judged for more than {GIVE_UP_S:g} s")
            time.sleep(ask_every_s)

    def come_to_rest(self) -> None:
        """Return when what it has taken is folded, but for less than a segment of the default."""
        deadline_s = time.monotonic() + GIVE_UP_S
        while self._unfolded_events() >= _SEGMENT_EVENTS:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"events wait to be folded for more than {GIVE_UP_S:g} s")
            time.sleep(0.1)

    def _unfolded_events(self) -> int:
        """Return how many events wait to be folded, but for the newest entry of the log."""
        self._connection.request("GET", "/metrics")
        values = dict(
            line.split(" ")
            for line in self._connection.getresponse().read().decode().splitlines()
            if line.startswith("alertd_events_") and "{" not in line
        )
        accepted, folded = (
            int(float(values[f"alertd_events_{what}_total"])) for what in ("accepted", "folded")
        )
        return accepted - folded - MAX_JOINED_EVENTS

    def stored_bytes(self) -> int:
        """Return the size of the database and its write-ahead log; snapshots are apart."""
        files = [self.store, self.store.with_name(self.store.name + "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

"""InfluxDB 1.x and VictoriaMetrics, where installed, on the same events in the same call.

Owns how they are started (on loopback, with a folder of their own) and the comparison: all are
running, and take turns, so that whatever else the machine does is in all of them; a turn begins
when nobody is busy any more with what the last one brought. A ratio is the median of those within a
turn. What they do is not the same: InfluxDB fsyncs before it answers and
judges nothing, VictoriaMetrics does neither, alertd does both, and its time runs until all is
judged.

Debian has both: ``apt-get install influxdb victoria-metrics``.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import ClassVar, Final
from urllib.parse import quote

from bench.client import LoadGenerator
from bench.daemon import Daemon
from bench.events import Form
from bench.ingest import CONNECTIONS, SERIES, WORKLOADS, introduce, now_us
from bench.processes import GIVE_UP_S, Program, bytes_in
from bench.results import RivalFigures, Round
from bench.rounds import run_round
from bench.senders import LoadSpec

BATCHES: Final = (1_000, 5_000)
_REST_S: Final = 0.3

_INFLUX_CONFIG: Final = """
reporting-disabled = true
bind-address = "127.0.0.1:{other_port}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  max-body-size = 0
[logging]
  level = "error"
"""


class Rival(Program):
    """A program that takes events over HTTP."""

    name: ClassVar[str]
    command: ClassVar[str]
    """What is looked for in ``PATH``."""
    forms: ClassVar[Mapping[Form, int]]
    """In what it is sent events, and how many are made for a second: more than it takes."""
    puts_off_s: ClassVar[float] = 0.0
    """After this it has begun to do, at the latest, what it puts off while it is busy."""

    def __init__(self, parent: Path) -> None:
        super().__init__(parent)
        self._port = _free_port()
        self.address = f"127.0.0.1:{self._port}"

    def come_to_rest(self) -> None:
        """Return when it has written and merged what it took: when it hardly uses the CPU."""
        time.sleep(self.puts_off_s)
        deadline_s = time.monotonic() + GIVE_UP_S
        used_s = self.facts.cpu_s()
        while time.monotonic() < deadline_s:
            time.sleep(_REST_S)
            before_s, used_s = used_s, self.facts.cpu_s()
            if used_s - before_s < _REST_S / 10:
                return
        raise TimeoutError(f"{self.name} is busy for more than {GIVE_UP_S:g} s after its turn")

    def stored_bytes(self) -> int:
        """Return what is in its folder."""
        return bytes_in(self._folder)

    def ask(self, method: str, path: str) -> int:
        """Ask it something and return the status of the answer."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=GIVE_UP_S)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()

    def _is_up(self) -> bool:
        try:
            self.ask("GET", "/ping")
        except OSError:
            return False
        return True


class InfluxDb(Rival):
    """InfluxDB 1.x, as Debian sets it up but for its folder, with nothing logged."""

    name = "InfluxDB"
    command = "influxd"
    forms: ClassVar = {Form.INFLUX: 1_500_000}

    def _arguments(self) -> list[str]:
        """Write its configuration, and return how it is started."""
        path = self._folder / "influxdb.conf"
        path.write_text(
            _INFLUX_CONFIG.format(folder=self._folder, port=self._port, other_port=_free_port())
        )
        return [self.command, "-config", str(path)]

    def _prepare(self) -> None:
        """Make the database."""
        assert self.ask("POST", f"/query?q={quote('CREATE DATABASE bench')}") == 200


class VictoriaMetrics(Rival):
    """VictoriaMetrics, a single node."""

    name = "VictoriaMetrics"
    command = "victoria-metrics"
    puts_off_s = 5.0  # -inmemoryDataFlushInterval
    forms: ClassVar = {Form.INFLUX: 1_500_000, Form.IMPORT: 2_000_000}

    def _arguments(self) -> list[str]:
        """Return how it is started."""
        return [
            self.command,
            f"-storageDataPath={self._folder / 'data'}",
            f"-httpListenAddr={self.address}",
            "-loggerLevel=ERROR",
        ]


RIVALS: Final[tuple[type[Rival], ...]] = (InfluxDb, VictoriaMetrics)


@dataclass(slots=True)
class _Contender:
    """Who takes part, in which form, and how many events are made for a second."""

    name: str
    form: Form
    max_rate: int
    address: str
    program: Program
    rounds: dict[int, list[Round]] = field(default_factory=dict)
    """By the events in a request."""

    def spec(self, batch_events: int, seconds: float, from_us: int) -> LoadSpec:
        """Return what it is sent in a turn."""
        return LoadSpec(
            address=self.address,
            form=self.form,
            connections=CONNECTIONS,
            series=SERIES,
            batch_events=batch_events,
            events=round(self.max_rate * seconds),
            seconds=seconds,
            from_us=from_us,
            until_us=now_us(),
        )

    @property
    def events(self) -> int:
        """Return how many it has taken."""
        return sum(each.events for rounds in self.rounds.values() for each in rounds)


def measure(
    folder: Path, tell: Callable[[str], None], *, rounds: int, seconds: float
) -> list[RivalFigures]:
    """Return the figures of each contender and size of batch. Some 130 s with two rounds."""
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(folder, WORKLOADS[0].config()))
        client = stack.enter_context(LoadGenerator())
        contenders = [
            _Contender("alertd", Form.JSON, 600_000, daemon.address, daemon),
            _Contender("alertd", Form.COLUMNS, 2_000_000, daemon.address, daemon),
        ]
        for kind in RIVALS:
            if shutil.which(kind.command) is None:
                tell(f"rivals: {kind.name} is left out, {kind.command} is not installed")
                continue
            rival = stack.enter_context(kind(folder))
            contenders += (
                _Contender(kind.name, form, rate, rival.address, rival)
                for form, rate in kind.forms.items()
            )
        if len(contenders) == 2:
            return []
        idle_bytes = {each.name: each.program.facts.resident_bytes() for each in contenders}
        introduced = introduce(daemon, client)
        for batch_events in BATCHES:
            for _ in range(rounds):
                for each in contenders:
                    tell(f"rivals: {each.name}, {each.form}, {batch_events} a request …")
                    spec = each.spec(batch_events, seconds, client.reached_us)
                    found = run_round(each.program, client, spec)
                    each.program.come_to_rest()  # not in the next one's turn
                    os.sync()  # nor what the kernel puts off
                    each.rounds.setdefault(batch_events, []).append(found)
        peak_bytes = {each.name: each.program.facts.peak_bytes() for each in contenders}
        events = Counter({"alertd": introduced})
        for each in contenders:
            each.program.stop()
            events[each.name] += each.events
        stored_bytes = {each.name: each.program.stored_bytes() for each in contenders}
    return [
        RivalFigures(
            name=each.name,
            form=each.form,
            batch_events=batch_events,
            rounds=tuple(each.rounds[batch_events]),
            idle_bytes=idle_bytes[each.name],
            peak_bytes=peak_bytes[each.name],
            stored_bytes_per_event=stored_bytes[each.name] / events[each.name],
            times_rivals=_ratios(each, contenders, batch_events),
        )
        for batch_events in BATCHES
        for each in contenders
    ]


def _ratios(
    contender: _Contender, contenders: list[_Contender], batch_events: int
) -> dict[str, float]:
    """Return how many times as many events a second as each rival's form, by turns."""
    return {
        f"{rival.name} {rival.form}": median(
            its.events_per_s / others.events_per_s
            for its, others in zip(
                contender.rounds[batch_events], rival.rounds[batch_events], strict=True
            )
        )
        for rival in contenders
        if rival.name != "alertd"
    }


def _free_port() -> int:
    """Return a port of the loopback address that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

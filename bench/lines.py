"""Events sent as lines over a socket: how many a second, and how long an acknowledgement takes.

Owns the workloads, all of them on one daemon, with the rule and the series of ``ingest.py``. In
those that stream, a connection has up to ``IN_FLIGHT`` lines that are not acknowledged, so that
what an acknowledgement waits for is a matter of alertd and not of what the kernel can hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.client import LoadGenerator
from bench.daemon import Daemon
from bench.events import Form
from bench.ingest import SERIES, WORKLOADS, introduce, now_us
from bench.results import LineFigures
from bench.rounds import run_round
from bench.senders import LoadSpec

IN_FLIGHT: Final = 4_000


@dataclass(frozen=True, slots=True)
class LineWorkload:
    """Who sends, and how."""

    name: str
    is_unix: bool
    connections: int
    lines_a_write: int
    in_flight: int = IN_FLIGHT
    max_rate: int = 500_000


CASES: Final = (
    LineWorkload("UNIX, 8 connections, 100 lines a write", True, 8, 100),
    LineWorkload("TCP, 8 connections, 100 lines a write", False, 8, 100),
    LineWorkload("TCP, 1 connection, 100 lines a write", False, 1, 100, in_flight=20_000),
    LineWorkload("TCP, 8 connections, a line a write", False, 8, 1, max_rate=300_000),
    LineWorkload("TCP, 8 connections, each line waits", False, 8, 1, in_flight=1, max_rate=10_000),
)


def measure(
    folder: Path, tell: Callable[[str], None], *, rounds: int, seconds: float
) -> Iterator[LineFigures]:
    """Yield the figures of each case. Some 25 s with two rounds of a second."""
    config = WORKLOADS[0].config()
    with Daemon(folder, config) as daemon, LoadGenerator() as client:
        introduce(daemon, client)
        for case in CASES:
            tell(f"lines: {case.name} …")
            found = []
            for _ in range(rounds):
                spec = LoadSpec(
                    address=str(daemon.socket) if case.is_unix else daemon.lines_address,
                    form=Form.LINES,
                    connections=case.connections,
                    series=SERIES,
                    batch_events=case.lines_a_write,
                    events=round(case.max_rate * seconds),
                    seconds=seconds,
                    from_us=client.reached_us,
                    until_us=now_us(),
                    in_flight=case.in_flight,
                )
                found.append(run_round(daemon, client, spec))
            yield LineFigures(case=case.name, rounds=tuple(found))

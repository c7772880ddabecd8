"""``python -m bench``: run the workloads, print the figures, write them as JSON, tables and plots.

Every part is bounded in count and in time; README.md of this folder says how long each takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from rich.console import Console

from alertd import logs
from alertd.config.settings import LoggingConfig
from bench import (
    curves,
    engine,
    hostile,
    ingest,
    latency,
    lines,
    memory,
    reads,
    recovery,
    rivals,
    startup,
    storage,
    storm,
    waits,
)
from bench.machine import describe
from bench.report import put_into_readme, show
from bench.results import IngestFigures, Results

T = TypeVar("T")

PARTS = (
    *("ingest", "lines", "rivals", "latency", "startup", "engine", "waits", "storm", "reads"),
    *("recovery", "hostile", "memory", "curves", "storage"),
)
"""In this order: what matters most comes first, for ``--minutes`` may leave out the rest."""


class _Run:
    """Which parts are measured, for how long, and how that went."""

    def __init__(self, parts: Sequence[str], minutes: float, tell: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        """For how long each was measured."""
        self.failed: list[str] = []
        self._parts = parts
        self._minutes = minutes
        self._until_s = time.monotonic() + 60 * minutes
        self._tell = tell

    def part(self, name: str, measure: Callable[[], Iterable[T]]) -> tuple[T, ...]:
        """Return what ``measure`` finds; nothing if the part is not wanted, too late, or fails."""
        began_s = time.monotonic()
        if name not in self._parts:
            return ()
        if began_s > self._until_s and name not in self.seconds:
            self._tell(f"{name} is left out: {self._minutes:g} minutes are over (--minutes)")
            return ()
        try:
            return tuple(measure())
        except Exception:  # the others' figures count all the same
            Console(stderr=True).print_exception()
            self.failed.append(name)
            return ()
        finally:
            spent_s = time.monotonic() - began_s
            self.seconds[name] = self.seconds.get(name, 0.0) + spent_s


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--only", default="", help="Only the ingest workloads whose name contains this.")
@click.option(
    "--minutes", default=9.0, show_default=True, help="After so many no other part is begun."
)
@click.option(
    "--rounds", default=2, show_default=True, help="Rounds of ingest, lines and rivals, each."
)
@click.option("--seconds", default=1.0, show_default=True, help="The longest that a round sends.")
@click.option("--alerts", default=200, show_default=True, help="Alerts of the latency workload.")
@click.option(
    "--stored-events",
    default=10_000_000,
    show_default=True,
    help="Events in the store of which pages are read; 1.5 s and 2 MB a million.",
)
@click.option(
    "--folder",
    default=Path("/var/tmp"),  # noqa: S108 - a folder with a random name is made in it
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the stores are made (and removed): a real disk, or an fsync costs nothing.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write every figure to this file too.",
)
@click.option(
    "--plots",
    "plots_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Draw the curves into this folder, as SVG (needs pip install 'alertd[bench]').",
)
@click.option(
    "--readme",
    is_flag=True,
    help="Put the tables of the parts that were run into this folder's README.md.",
)
def main(
    parts: tuple[str, ...],
    only: str,
    minutes: float,
    rounds: int,
    seconds: float,
    alerts: int,
    stored_events: int,
    folder: Path,
    json_path: Path | None,
    plots_folder: Path | None,
    readme: bool,
) -> None:
    """Measure alertd: PARTS are named above; default: all of them."""
    tell = Console(stderr=True).print
    if plots_folder is not None and find_spec("matplotlib") is None:
        raise click.UsageError("--plots needs matplotlib: make bench, or pip install '.[bench]'")
    logs.configure(LoggingConfig(level="warning"))  # of what runs in this process
    run = _Run(parts or PARTS, minutes, tell)
    when = run.part

    def ingested() -> Iterator[IngestFigures]:
        for workload in ingest.WORKLOADS:
            if only in workload.name:
                tell(f"ingest: {workload.name} …")
                yield ingest.measure(workload, folder, rounds=rounds, seconds=seconds)

    results = Results(
        machine=describe(folder),
        seconds=run.seconds,
        ingest=when("ingest", ingested),
        lines=when("lines", lambda: lines.measure(folder, tell, rounds=rounds, seconds=seconds)),
        rivals=when("rivals", lambda: rivals.measure(folder, tell, rounds=rounds, seconds=seconds)),
        latency=when("latency", lambda: latency.measure(folder, alerts=alerts)),
        starts=when("startup", lambda: startup.measure(folder)),
        engine=when("engine", engine.measure),
        waits=when("waits", lambda: waits.measure(folder, tell)),
        storms=when("storm", lambda: storm.measure(folder, tell)),
        reads=when("reads", lambda: reads.measure(folder, tell, events=stored_events)),
        replays=when("recovery", lambda: recovery.measure(folder, tell)),
        stalls=when("recovery", lambda: recovery.measure_stalls(folder, tell)),
        hostile=when("hostile", lambda: hostile.measure(folder, tell)),
        memory=when("memory", lambda: memory.measure(tell)),
        curves=when("curves", lambda: curves.measure(tell)),
        storage=when("storage", lambda: storage.measure(folder, tell)),
    )
    show(results)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    if plots_folder is not None:
        _draw(results, plots_folder, tell)
    if readme:
        tell(f"in README.md: {', '.join(put_into_readme(results))}")
    if run.failed:
        raise click.ClickException(f"no figures of {', '.join(run.failed)}: see above")


def _draw(results: Results, folder: Path, tell: Callable[[str], None]) -> None:
    from bench.plots import draw  # matplotlib, for those who want it

    for path in draw(results.curves, folder):
        tell(f"drawn: {path}")


if __name__ == "__main__":
    main()

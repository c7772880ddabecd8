"""``python -m bench``: run the workloads, print the figures, write them as JSON.

The whole run takes about three minutes by default; every part is bounded in count and in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from rich.console import Console

from bench import (
    curves,
    engine,
    hostile,
    ingest,
    latency,
    memory,
    reads,
    recovery,
    storage,
    storm,
    waits,
)
from bench.machine import describe
from bench.report import show
from bench.results import IngestFigures, Results

T = TypeVar("T")

PARTS = (
    *("ingest", "latency", "hostile", "engine", "curves", "memory", "storage", "waits", "storm"),
    *("reads", "recovery"),
)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--only", default="", help="Only the ingest workloads whose name contains this.")
@click.option("--rounds", default=3, show_default=True, help="Rounds of an ingest workload.")
@click.option("--seconds", default=2.0, show_default=True, help="The longest that a round sends.")
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
def main(
    parts: tuple[str, ...],
    only: str,
    rounds: int,
    seconds: float,
    alerts: int,
    stored_events: int,
    folder: Path,
    json_path: Path | None,
) -> None:
    """Measure alertd: PARTS are named above; default: all of them."""
    chosen = parts or PARTS
    tell = Console(stderr=True).print

    def when(part: str, measure: Callable[[], Iterable[T]]) -> tuple[T, ...]:
        return tuple(measure()) if part in chosen else ()

    def ingested() -> Iterator[IngestFigures]:
        for workload in ingest.WORKLOADS:
            if only in workload.name:
                tell(f"ingest: {workload.name} …")
                yield ingest.measure(workload, folder, rounds=rounds, seconds=seconds)

    results = Results(
        machine=describe(folder),
        ingest=when("ingest", ingested),
        latency=when("latency", lambda: [latency.measure(folder, alerts=alerts)]),
        hostile=when("hostile", lambda: hostile.measure(folder, tell)),
        engine=when("engine", engine.measure),
        curves=when("curves", lambda: curves.measure(tell)),
        memory=when("memory", lambda: memory.measure(tell)),
        storage=when("storage", lambda: storage.measure(folder, tell)),
        waits=when("waits", lambda: waits.measure(folder, tell)),
        storms=when("storm", lambda: storm.measure(folder, tell)),
        reads=when("reads", lambda: reads.measure(folder, tell, events=stored_events)),
        replays=when("recovery", lambda: recovery.measure(folder, tell)),
        stalls=when("recovery", lambda: recovery.measure_stalls(folder, tell)),
    )
    show(results)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(results)))


if __name__ == "__main__":
    main()

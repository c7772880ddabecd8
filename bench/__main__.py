"""``python -m bench``: run the workloads, print the figures, write them as JSON.

The whole run takes about three minutes by default; every part is bounded in count and in time.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console

from bench import curves, engine, ingest, latency, memory, recovery, storage
from bench.machine import describe
from bench.report import show
from bench.results import Results, StorageFigures, WaitFigures

PARTS = ("ingest", "latency", "engine", "curves", "memory", "storage", "recovery")


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--only", default="", help="Only the ingest workloads whose name contains this.")
@click.option("--rounds", default=3, show_default=True, help="Rounds of an ingest workload.")
@click.option("--seconds", default=2.0, show_default=True, help="The longest that a round sends.")
@click.option("--alerts", default=200, show_default=True, help="Alerts of the latency workload.")
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
    folder: Path,
    json_path: Path | None,
) -> None:
    """Measure alertd: PARTS are named above; default: all of them."""
    chosen = parts or PARTS
    tell = Console(stderr=True).print
    machine = describe(folder)
    ingested, delays, engine_costs, drawn, states = [], [], [], [], []
    kept: list[StorageFigures] = []
    waits: list[WaitFigures] = []
    if "ingest" in chosen:
        for workload in ingest.WORKLOADS:
            if only in workload.name:
                tell(f"ingest: {workload.name} …")
                ingested.append(ingest.measure(workload, folder, rounds=rounds, seconds=seconds))
    if "latency" in chosen:
        tell(f"latency: {alerts} alerts …")
        delays.append(latency.measure(folder, alerts=alerts))
    if "engine" in chosen:
        tell("engine …")
        engine_costs += engine.measure()
    if "curves" in chosen:
        drawn += curves.measure(tell)
    if "memory" in chosen:
        states += memory.measure(tell)
    if "storage" in chosen:
        kept += storage.measure(folder, tell)
        waits += storage.measure_waits(folder, tell)
    starts = recovery.measure_all(folder, tell) if "recovery" in chosen else ((), ())
    results = Results(
        machine=machine,
        ingest=tuple(ingested),
        latency=tuple(delays),
        engine=tuple(engine_costs),
        curves=tuple(drawn),
        memory=tuple(states),
        storage=tuple(kept),
        waits=tuple(waits),
        replays=starts[0],
        stalls=starts[1],
    )
    show(results)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(results)))


if __name__ == "__main__":
    main()

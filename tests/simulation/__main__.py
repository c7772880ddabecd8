"""``python -m tests.simulation``: many seeds on all cores, or one seed with its trace."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tests.simulation.world import Simulation, Verdict

MEMORY = Path("/dev/shm")  # noqa: S108  # folders in it have random names

_simulation: Simulation | None = None


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield an empty folder, in memory where that can be."""
    parent = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="alertd-simulation-", dir=parent) as folder:
        yield Path(folder)


def _begin(folder: Path) -> None:
    """Prepare a process of the pool."""
    global _simulation  # one a process
    own = folder / str(os.getpid())
    own.mkdir()
    _simulation = Simulation(own)
    _simulation.prepare()


def _judge(seed: int) -> tuple[int, tuple[str, ...]]:
    assert _simulation is not None
    verdict = _simulation.judge(seed)
    return seed, verdict.findings


@click.command()
@click.option("--seeds", default=10_000, show_default=True, help="How many worlds to run.")
@click.option("--first", default=0, show_default=True, help="The seed to begin with.")
@click.option("--seed", type=int, help="Run only this one, and print its trace.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes.")
def main(seeds: int, first: int, seed: int | None, jobs: int) -> None:
    """Run worlds of the simulation; exit with 1 if anything is wrong in any of them."""
    with _folder() as folder:
        if seed is not None:
            _begin(folder)
            assert _simulation is not None
            sys.exit(_show(_simulation.judge(seed)))
        sys.exit(_run_many(folder, range(first, first + seeds), jobs))


def _show(verdict: Verdict) -> int:
    for wait_s, step in verdict.plan.steps:
        click.echo(f"plan: after {wait_s:g} s {step}")
    for line in verdict.trace:
        click.echo(line)
    click.echo(f"trace {verdict.digest}")
    for finding in verdict.findings:
        click.secho(finding, fg="red", err=True)
    return 1 if verdict.findings else 0


def _run_many(folder: Path, seeds: range, jobs: int) -> int:
    began_s, bad = time.monotonic(), 0
    with (
        multiprocessing.get_context("spawn").Pool(jobs, _begin, (folder,)) as pool,
        click.progressbar(
            pool.imap_unordered(_judge, seeds, chunksize=10), len(seeds), "worlds"
        ) as verdicts,
    ):
        for seed, findings in verdicts:
            bad += bool(findings)
            for finding in findings:
                click.secho(f"\nseed {seed}: {finding}", fg="red", err=True)
            if findings:
                click.echo(f"run it again: make sim SEED={seed}", err=True)
    took_s = time.monotonic() - began_s
    each_ms = took_s / len(seeds) * 1000
    click.echo(f"{len(seeds)} worlds in {took_s:.0f} s ({each_ms:.0f} ms each), {bad} went wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    main()

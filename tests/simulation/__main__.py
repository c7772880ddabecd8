"""``python -m tests.simulation``: many seeds on all cores, or one seed with its trace."""

from __future__ import annotations

import os
import sys
import time

import click

from tests.simulation.many import empty_folder, judged
from tests.simulation.world import Simulation, Verdict


@click.command()
@click.option("--seeds", default=10_000, show_default=True, help="How many worlds to run.")
@click.option("--first", default=0, show_default=True, help="The seed to begin with.")
@click.option("--seed", type=int, help="Run only this one, and print its trace.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes.")
def main(seeds: int, first: int, seed: int | None, jobs: int) -> None:
    """Run worlds of the simulation; exit with 1 if anything is wrong in any of them."""
    if seed is None:
        sys.exit(_run_many(range(first, first + seeds), jobs))
    with empty_folder() as folder:
        simulation = Simulation(folder)
        simulation.prepare()
        sys.exit(_show(simulation.judge(seed)))


def _show(verdict: Verdict) -> int:
    for wait_s, step in verdict.plan.steps:
        click.echo(f"plan: after {wait_s:g} s {step}")
    for line in verdict.trace:
        click.echo(line)
    click.echo(f"trace {verdict.digest}")
    for finding in verdict.findings:
        click.secho(finding, fg="red", err=True)
    return 1 if verdict.findings else 0


def _run_many(seeds: range, jobs: int) -> int:
    began_s, bad = time.monotonic(), 0
    with (
        judged(seeds, jobs) as verdicts,
        click.progressbar(verdicts, len(seeds), "worlds") as shown,
    ):
        for seed, findings in shown:
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

"""The daemon but for its sockets, in worlds where everything goes wrong that can (``make sim``)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.many import empty_folder
from tests.simulation.world import Simulation

SEEDS = 300
TWICE = 6


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    with empty_folder() as folder:
        simulation = Simulation(folder)
        simulation.prepare()
        yield simulation


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_whatever_goes_wrong_nothing_is_lost_and_everybody_is_told(
    simulation: Simulation, first: int
) -> None:
    for seed in range(first, first + 20):
        verdict = simulation.judge(seed)
        assert not verdict.findings, f"make sim SEED={seed}"


def test_one_seed_gives_one_trace(simulation: Simulation) -> None:
    for seed in range(TWICE):
        assert simulation.judge(seed).trace == simulation.judge(seed).trace, seed


def test_a_seed_gives_the_same_trace_in_another_process(simulation: Simulation) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", "3"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "123"},
        cwd=Path(__file__).parents[2],
    )
    assert f"trace {simulation.judge(3).digest}\n" in ended.stdout


def test_many_worlds_are_run_by_several_processes() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", "4", "--jobs", "2"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "4 worlds in " in ended.stdout
    assert ended.stdout.endswith("0 went wrong\n")

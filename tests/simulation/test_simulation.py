"""The daemon but for its sockets, in worlds where everything goes wrong that can (``make sim``)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.world import Simulation

SEEDS = 300
TWICE = 11


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    memory = Path("/dev/shm")  # noqa: S108  # the name in it is random
    parent = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="alertd-simulation-", dir=parent) as folder:
        simulation = Simulation(Path(folder))
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

"""docs/rules.md defines every aggregate, and its example is what the engine makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alertd.engine.aggregates import aggregate_factory
from alertd.engine.window import Window
from alertd.model import US_PER_S
from alertd.rules import AGGREGATES, ZERO_ON_EMPTY

PAGE = Path(__file__).parents[3] / "docs/rules.md"
VALUES = (2.0, 4.0, 4.0, 10.0)
WINDOW_US = 60 * US_PER_S


def rows() -> dict[str, tuple[str, str]]:
    """Return what the table says of an empty window, and the example, by aggregate."""
    found: dict[str, tuple[str, str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            names, _, empty, example = (cell.strip() for cell in line.strip("|").split("|"))
            for name in re.findall(r"`(\w+)`", names):
                found[name] = empty, example
    return found


def test_every_aggregate_is_defined_and_no_other() -> None:
    assert rows().keys() == set(AGGREGATES)


@pytest.mark.parametrize("name", AGGREGATES)
def test_what_is_said_of_an_empty_window_is_so(name: str) -> None:
    assert rows()[name][0] == ("0" if name in ZERO_ON_EMPTY else "no value")


@pytest.mark.parametrize("name", [*(n for n in AGGREGATES if n[0] != "p"), "p50", "p90"])
def test_the_example_is_what_the_engine_makes_of_it(name: str) -> None:
    window = Window(WINDOW_US, aggregate_factory(name, WINDOW_US))
    for place, value in enumerate(VALUES):
        window.put(place, value)
    window.move_to(len(VALUES))
    made = f"{window.aggregate.value(window):.4g}"
    example = rows()[name][1]
    assert example == made or f"`{name}` is {made}" in example.split(", ")

"""Imports point one way: from what is wired to what is meant, never back."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "alertd"

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"alertd"}),
    frozenset({"limits"}),
    frozenset({"access", "arrays", "errors", "meant", "model", "names"}),
    frozenset({"escalation", "patterns", "ranges"}),
    frozenset({"matching"}),
    frozenset({"outbound", "rules"}),
    frozenset(
        {
            *("blocking", "clock", "literals", "metrics", "rule_checks", "sdnotify", "sockets"),
            *("tls", "turn"),
        }
    ),
    frozenset({"channels", "engine", "ingest"}),
    frozenset({"notify"}),
    frozenset({"store"}),
    frozenset({"config", "pipeline"}),
    frozenset({"delivery", "host_metrics", "logs", "rulebook", "upkeep"}),
    frozenset({"reports"}),
    frozenset({"http", "reload"}),
    frozenset({"core", "lines", "status"}),
    frozenset({"app"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
"""Top-level modules and packages; each may import from the layers before its own, and itself."""

ENGINE_MAY_IMPORT = frozenset({"alertd", "msgspec", "numpy", "sortedcontainers"})
NOTIFY_MAY_IMPORT = frozenset({"alertd", "msgspec"})
IMPURE = frozenset(
    {
        *("asyncio", "datetime", "io", "logging", "os", "pathlib", "random", "secrets", "select"),
        *("signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time"),
    }
)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(module: Path) -> Iterator[str]:
    """Yield the full names of everything that ``module`` imports, at its top or later."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unit_of(name: str) -> str:
    """Return which entry of ``LAYERS`` the full name ``alertd.…`` belongs to."""
    unit = name.split(".")[1] if "." in name else "alertd"
    is_module = (PACKAGE / unit).is_dir() or (PACKAGE / f"{unit}.py").exists()
    return unit if is_module else "alertd"


def unit_of_module(module: Path) -> str:
    relative = module.relative_to(PACKAGE)
    unit = relative.parts[0].removesuffix(".py")
    return "alertd" if unit == "__init__" else unit


def layer_of(unit: str) -> int:
    for number, units in enumerate(LAYERS):
        if unit in units:
            return number
    raise AssertionError(f"alertd.{unit} has no layer; give it one in LAYERS")


@pytest.mark.parametrize("module", modules(), ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_go_to_earlier_layers_only(module: Path) -> None:
    unit = unit_of_module(module)
    others = {unit_of(name) for name in imported(module) if name.split(".")[0] == "alertd"}
    wrong = {other for other in others - {unit} if layer_of(other) >= layer_of(unit)}
    assert not wrong, f"{module.name} must not import {wrong}"


@pytest.mark.parametrize("module", sorted((PACKAGE / "notify").glob("*.py")), ids=lambda m: m.name)
def test_deciding_whom_to_tell_does_no_io_and_knows_no_time(module: Path) -> None:
    roots = {name.split(".")[0] for name in imported(module)}
    assert roots <= NOTIFY_MAY_IMPORT | sys.stdlib_module_names
    assert not roots & IMPURE - {"datetime"}


@pytest.mark.parametrize("module", sorted((PACKAGE / "engine").glob("*.py")), ids=lambda m: m.name)
def test_the_engine_imports_nothing_that_does_io_or_knows_the_time(module: Path) -> None:
    roots = {name.split(".")[0] for name in imported(module)}
    assert roots <= ENGINE_MAY_IMPORT | sys.stdlib_module_names
    assert not roots & IMPURE


def test_every_layer_is_about_something_that_exists() -> None:
    units = {unit_of_module(module) for module in modules()}
    assert set().union(*LAYERS) <= units

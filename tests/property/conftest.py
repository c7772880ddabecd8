"""Chooses how hard the properties are tried.

``ALERTD_HYPOTHESIS_EXAMPLES`` is the number of examples of each property: 300 in a run of the
whole suite, 2,000 in ``make properties``, 20,000 in ``make fuzz``. In CI (the variable ``CI`` is
set) the examples are the same in every run; elsewhere what failed is printed and remembered.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.property.engine_laws")
settings.register_profile(
    "alertd",
    max_examples=int(os.environ.get("ALERTD_HYPOTHESIS_EXAMPLES", "300")),
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("alertd")


@pytest.fixture(scope="session", autouse=True)
def _sums_of_small_worlds_sleep() -> Iterator[None]:
    """Let sums sleep, and be too crowded for it, with as few events as worlds here have."""
    with patch("alertd.engine.screen.SHARES", 4):
        yield

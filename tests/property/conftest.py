"""Chooses how hard the properties are tried.

``ALERTD_HYPOTHESIS_EXAMPLES`` is the number of examples of each property: 300 in a run of the
whole suite, 2,000 in ``make properties``, 20,000 in ``make fuzz``. In CI (the variable ``CI`` is
set) the examples are the same in every run; elsewhere what failed is printed and remembered.
"""

from __future__ import annotations

import os

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

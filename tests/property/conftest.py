"""Chooses how hard the properties are tried.

``ALERTD_HYPOTHESIS=fuzz`` tries many more examples than a run of the suite does, and
``ALERTD_HYPOTHESIS_EXAMPLES`` sets any number. In CI (the variable ``CI`` is set) the examples are
the same in every run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci",
    max_examples=int(os.environ.get("ALERTD_HYPOTHESIS_EXAMPLES", "300")),
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("fuzz", settings.get_profile("ci"), max_examples=20_000)
settings.load_profile(os.environ.get("ALERTD_HYPOTHESIS", "ci"))

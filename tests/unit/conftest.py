"""Fixtures that several modules share."""

from __future__ import annotations

import pytest

from tests.unit import parts


@pytest.fixture(params=(False, True), ids=("as appended", "folded meanwhile"))
def form_of_the_log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test once as it is, and once with the log folded at random moments."""
    monkeypatch.setattr(parts, "FOLDS_MEANWHILE", request.param)

"""What must be true at the end of every world, whatever happened in it.

Each checker takes what was seen from outside (``Story``) and what is left on disk (``Remains``)
and yields what is wrong, in words. They know nothing of how the daemon works; what the incidents
should be they ask a replay of the whole log in one go, and ``rescan``, which is the contract by
brute force.
"""

from __future__ import annotations

from tests.simulation import check_events, check_incidents, check_notifications
from tests.simulation.remains import Remains
from tests.simulation.story import Story

CHECKS = (*check_events.CHECKS, *check_incidents.CHECKS, *check_notifications.CHECKS)


def findings(story: Story, remains: Remains) -> list[str]:
    """Return everything that is wrong with a world."""
    return [*story.findings, *(f for check in CHECKS for f in check(story, remains))]

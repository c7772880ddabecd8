"""The step under way: its wall time, what was found in it, and what it has still to judge.

One journal is shared by all groups of an engine. Between steps it is empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from alertd.model import Transition, TransitionKind

GROUPS_BETWEEN_PAUSES: Final = 5
"""Groups that are judged, or transitions found, between two pauses of a step: some 0.1 ms."""

QUIET_BETWEEN_PAUSES: Final = 20
"""Groups of which nothing is found, that are judged at the end of a step: some 0.2 ms."""


class OpenInstant(Protocol):
    """A group whose newest instant is judged only when the step is over."""

    def close_instant(self) -> None:
        """No more events of that instant come in this step: judge it."""
        ...


class Journal:
    """What one step leaves behind."""

    __slots__ = ("_open", "_transitions", "now_us", "steps")

    def __init__(self) -> None:
        self.now_us = 0
        """The receive time of the batch, or the tick, that is being applied."""
        self.steps = 0
        """How many steps are over."""
        self._transitions: list[Transition] = []
        self._open: list[OpenInstant] = []

    def write(self, transition: Transition) -> None:
        """Add a transition; they are kept in the order in which they were found."""
        self._transitions.append(transition)

    def leave_open(self, group: OpenInstant) -> None:
        """Have ``group`` judge its newest instant when the step is over."""
        self._open.append(group)

    @property
    def count(self) -> int:
        """Transitions that were found so far."""
        return len(self._transitions)

    def settle(self) -> Iterator[None]:
        """Judge what was left open; pause now and then."""
        pause_at = self.count + GROUPS_BETWEEN_PAUSES
        for closed, group in enumerate(self._open, start=1):
            group.close_instant()
            if self.count >= pause_at or not closed % QUIET_BETWEEN_PAUSES:
                pause_at = self.count + GROUPS_BETWEEN_PAUSES
                yield
        self._open.clear()

    def close(self) -> list[Transition]:
        """End the step: judge what was left open, and return and forget what was found."""
        for _ in self.settle():
            pass
        self.steps += 1
        taken, self._transitions = self._transitions, []
        return taken


class SilentJournal(Journal):
    """A journal for a group that is judged before it is anybody's business.

    It keeps no transition, only what a group that is still pending will have to tell.
    """

    __slots__ = ("pending_value",)

    def __init__(self, now_us: int) -> None:
        super().__init__()
        self.now_us = now_us
        self.pending_value: float | None = None
        """The window's value where the condition turned true last."""

    def write(self, transition: Transition) -> None:
        """Forget ``transition``."""
        if transition.kind is TransitionKind.PENDING:
            self.pending_value = transition.value

    def leave_open(self, group: OpenInstant) -> None:
        """The group's next event, or its end, closes the instant."""

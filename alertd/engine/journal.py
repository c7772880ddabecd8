"""Where the engine writes down what happened during one step.

Owns the transitions of the step under way and the wall time that was given with its input.
One journal is shared by all groups of an engine; ``take`` empties it between steps.
"""

from __future__ import annotations

from alertd.model import Transition


class Journal:
    """The transitions of the step under way, in the order in which they were found."""

    __slots__ = ("_transitions", "now_us")

    def __init__(self) -> None:
        self.now_us = 0
        """The receive time of the batch, or the tick, that is being applied."""
        self._transitions: list[Transition] = []

    def write(self, transition: Transition) -> None:
        """Add a transition."""
        self._transitions.append(transition)

    def take(self) -> list[Transition]:
        """Return what was written since the last call, and forget it."""
        taken, self._transitions = self._transitions, []
        return taken

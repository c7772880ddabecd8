"""Whether a notification is held back, by what, and until when.

Owns the present state that decides it, and the order of the reasons: an incident that another one
explains (``inhibit``), a silence that somebody set (``silence``), a time in which nobody wants to
be told (``mute``), a series that changes too often to be followed (``flapping``). The first that
holds is recorded; when it is over, the others are asked. Each decision is a function of that state
and of ``now``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alertd.notify.flapping import Flapping, FlappingLimits
from alertd.notify.inhibit import Inhibition, Sources
from alertd.notify.mute import Mute, muted
from alertd.notify.silence import ActiveSilence, Silence, silenced
from alertd.outbound import Hold


class Policy:
    """The silences, mute schedules, inhibitions and flapping series of now."""

    def __init__(
        self,
        mutes: Iterable[Mute] = (),
        inhibitions: Iterable[Inhibition] = (),
        flapping: FlappingLimits = FlappingLimits(),  # noqa: B008  # immutable
    ) -> None:
        self._silences: dict[str, ActiveSilence] = {}
        self.changes = 0
        """How often something may have been taken away before its time that held others back."""
        self.sources = Sources()
        self.flapping = Flapping()
        self.use(mutes, inhibitions, flapping)

    def use(
        self, mutes: Iterable[Mute], inhibitions: Iterable[Inhibition], flapping: FlappingLimits
    ) -> None:
        """Decide by these from now on; silences stay as they are."""
        self._mutes = tuple(mutes)
        self.sources.use(inhibitions)
        self.flapping.limits = flapping
        self.changes += 1

    def silences(self) -> list[Silence]:
        """Return the silences that are on or to come."""
        return [active.silence for active in self._silences.values()]

    def put_silence(self, silence: Silence) -> None:
        """Add a silence, or change one."""
        self.changes += silence.id in self._silences
        self._silences[silence.id] = ActiveSilence(silence)

    def forget_silences(self, now_us: int) -> list[Silence]:
        """Forget those that are over, and return them."""
        over = [silence for silence in self.silences() if silence.ends_us <= now_us]
        for silence in over:
            del self._silences[silence.id]
        return over

    def hold(self, incident_id: str, labels: Mapping[str, str], now_us: int) -> Hold | None:
        """Return what holds all notifications of this incident back, None if nothing does.

        Of what flaps, that alone is told: ask ``flapping`` about its other notifications.
        """
        return (
            self.sources.inhibited(incident_id, labels, now_us)
            or silenced(self._silences.values(), labels, now_us)
            or muted(self._mutes, labels, now_us)
        )

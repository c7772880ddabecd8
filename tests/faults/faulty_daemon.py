"""``alertd`` on a disk that fails: ``python -m tests.faults.faulty_daemon run --config FILE``.

``ALERTD_TEST_FAULT`` is ``kind:file:place:code``: calls of that kind on a file whose name ends like
that fail with SQLite's code from the ``place``-th one on that comes after the signal SIGUSR1.
``ALERTD_TEST_SMALL`` has it allocate room in steps that fit a disk of a few MiB.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Final

from alertd.cli import main
from alertd.store import reserve, wal
from tests.faults.disk import Call, Fault, Kind, watched_by

SMALL: Final = (
    (wal, "ROOM_STEP_BYTES", 64 << 10),
    (wal, "CHECKPOINT_BYTES", 256 << 10),
    (reserve, "RESERVE_BYTES", 2 << 20),
)


@dataclass
class FaultWhenTold:
    """A watcher that lets calls fail once it has been told to."""

    kind: Kind
    file: str
    place: int
    fault: Fault
    is_told: bool = False
    seen: int = 0

    def before(self, call: Call) -> Fault | None:
        """Let the call fail if it is one of those."""
        if not self.is_told or call.kind is not self.kind or not call.path.endswith(self.file):
            return None
        self.seen += 1
        return self.fault if self.seen >= self.place else None

    def tell(self, *_signal: object) -> None:
        """Begin to count."""
        self.is_told = True


def run() -> None:
    """Run alertd with what the environment asks for."""
    if "ALERTD_TEST_SMALL" in os.environ:
        for module, name, size_bytes in SMALL:
            setattr(module, name, size_bytes)
    kind, file, place, code = os.environ.get("ALERTD_TEST_FAULT", "open::1:0").split(":")
    watcher = FaultWhenTold(Kind(kind), file, int(place), Fault(int(code)))
    signal.signal(signal.SIGUSR1, watcher.tell)
    with watched_by(watcher):
        main()


if __name__ == "__main__":
    run()

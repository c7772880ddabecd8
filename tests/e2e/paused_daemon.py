"""``alertd`` with a recovery that pauses: ``python -m tests.e2e.paused_daemon run --config FILE``.

It stands still, half of the log replayed, until there is a file ``go`` in the working folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from alertd import app
from alertd.cli import main
from alertd.upkeep.recovery import recover

PHASE = "replaying the log: 1,000 events, 50%"
GO = Path("go")


# Any: it passes on what it is given.
async def recover_when_told(*args: Any, on_progress: Callable[[str], None], **kwargs: Any) -> Any:
    """Recover once ``GO`` is there."""
    on_progress(PHASE)
    while not await trio.Path(GO).exists():
        await trio.sleep(0.01)
    return await recover(*args, on_progress=on_progress, **kwargs)


if __name__ == "__main__":
    app.recover = recover_when_told  # type: ignore[attr-defined]  # it is imported there
    main()

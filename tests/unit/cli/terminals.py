"""Commands with a terminal for their output."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def at_a_terminal(*arguments: object, columns: int = 200) -> tuple[int, str]:
    """Run ``alertd`` with a terminal for its output; return its exit code and what it wrote."""
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "alertd", *map(str, arguments)],
        stdout=its_end, stderr=its_end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)},
    )  # fmt: skip
    os.close(its_end)
    written = b""
    try:
        while piece := os.read(terminal, 1 << 16):
            written += piece
    except OSError:
        pass  # the other end is closed
    os.close(terminal)
    return process.wait(60), written.decode()

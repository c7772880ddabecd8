"""``[lines]``: where events are taken one a line, and what one client may do there."""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import Meta

from alertd.config.section import Seconds, SecondsOrZero, Section
from alertd.config.server import bind_problem, is_loopback
from alertd.errors import Problem

_MAX_PATH_BYTES: Final = 107
"""``sun_path`` of unix(7), without the NUL at its end."""
_MODE: Final = re.compile(r"[0-7]{3}")


class LinesConfig(Section, frozen=True, kw_only=True):
    """``[lines]``: the listener for events in lines of JSON. Without an address there is none."""

    bind: str | None = None
    """``host:port`` or ``[ipv6]:port``; port 0 lets the kernel choose."""
    socket: str | None = None
    """The file of a UNIX socket."""
    socket_mode: str = "600"
    """Its permissions, octal: whoever may write to it may send events."""
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 200
    max_line_bytes: Annotated[int, Meta(ge=1024, le=2**20)] = 64 * 1024
    idle_timeout_secs: Seconds = 600
    """Without a whole line for so long a connection is closed."""
    max_pause_secs: SecondsOrZero = 30
    """For how long reading pauses while nothing can be stored, before a connection is closed."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it by TCP/IP."""
        return self.bind is None or is_loopback(self.bind)

    @property
    def mode(self) -> int:
        """``socket_mode`` as a number."""
        return int(self.socket_mode, 8)

    def problems(self) -> list[Problem]:
        """Return what is wrong with the addresses."""
        problems = []
        if self.bind is not None and (message := bind_problem(self.bind)):
            problems.append(Problem("/bind", message))
        if self.socket is not None and not _can_be_a_file(self.socket):
            message = f"expected the path of a file, at most {_MAX_PATH_BYTES} bytes"
            problems.append(Problem("/socket", f"{message}, got {self.socket!r}"))
        if not _MODE.fullmatch(self.socket_mode):
            message = 'expected three octal digits, like "660"'
            problems.append(Problem("/socket_mode", f"{message}, got {self.socket_mode!r}"))
        return problems


def _can_be_a_file(path: str) -> bool:
    return bool(path.strip()) and "\0" not in path and len(path.encode()) <= _MAX_PATH_BYTES

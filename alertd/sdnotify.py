"""What systemd is told: ready, alive, reloading, stopping.

The protocol of sd_notify(3): ``KEY=VALUE`` lines in one datagram to the AF_UNIX socket that
``NOTIFY_SOCKET`` names; a leading ``@`` stands for the NUL of the abstract namespace. Without
that variable nothing is sent. A message that cannot be sent is logged and lost:
systemd's own time limits say what follows from that.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog
import trio

TELL_EVERY_S: Final = 1.0

_log = structlog.get_logger(__name__)


def ready() -> None:
    """Say that starting, or reloading, is complete."""
    _send("READY=1")


def reloading() -> None:
    """Say that the configuration is being read again; ``ready`` follows when that is done."""
    now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    _send(f"RELOADING=1\nMONOTONIC_USEC={now_us}")


def stopping() -> None:
    """Say that shutdown has begun."""
    _send("STOPPING=1")


def watchdog() -> None:
    """Say that the daemon works; due every ``WATCHDOG_USEC``."""
    _send("WATCHDOG=1")


def status(text: str) -> None:
    """Set the line that ``systemctl status`` shows."""
    _send(f"STATUS={' '.join(text.split())}")


def extend_timeout(timeout_us: int) -> None:
    """Ask for ``timeout_us`` microseconds from now before the start or stop is given up."""
    _send(f"EXTEND_TIMEOUT_USEC={timeout_us}")


class Start:
    """A start that may take long: systemd sees how far it is, and waits ``patience_us`` more."""

    def __init__(self, patience_us: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._patience_us = patience_us
        self._now_s = now_s
        self._phase = ""
        self._told_s = -math.inf

    def goes_on(self, text: str, *, phase: str) -> None:
        """Show ``text``: at once if the phase is a new one, else once a second. In any thread."""
        now_s = self._now_s()
        if phase == self._phase and now_s - self._told_s < TELL_EVERY_S:
            return
        self._phase, self._told_s = phase, now_s
        status(text)
        extend_timeout(self._patience_us)


def watchdog_interval_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return how often to call ``watchdog``, in seconds: half of what systemd allows.

    None if no watchdog is set, or if it is for another process (sd_watchdog_enabled(3)).
    """
    allowed_us, process_id = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if not allowed_us.isdecimal() or int(allowed_us) == 0:
        return None
    if process_id is not None and process_id != str(os.getpid()):
        return None
    return int(allowed_us) / 2 / 1_000_000


async def run_watchdog(
    is_alive: Callable[[], bool], environ: Mapping[str, str] = os.environ
) -> None:
    """Call ``watchdog`` in time for as long as ``is_alive()``; return at once if none is set.

    While it is not, nothing is said, and systemd restarts the daemon when its patience ends.
    """
    interval_s = watchdog_interval_s(environ)
    if interval_s is None:
        return
    while True:
        if is_alive():
            watchdog()
        else:
            _log.warning("watchdog_withheld", reason="the daemon does not make progress")
        await trio.sleep(interval_s)


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.setblocking(False)
            notify.sendto(message.encode(), address)
    except OSError as error:
        _log.warning("systemd_not_notified", error=str(error))

"""A real Alertmanager in a process of its own on loopback: Debian's ``prometheus-alertmanager``."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import pytest

from tests.receivers import closed_port

GIVE_UP_S: Final = 20.0
PROGRAM: Final = shutil.which("prometheus-alertmanager")

T = TypeVar("T")

needs_alertmanager = pytest.mark.skipif(
    PROGRAM is None, reason="needs prometheus-alertmanager: apt-get install prometheus-alertmanager"
)

CONFIG = """
route: {{receiver: own, group_by: [alertname], group_wait: 0s, group_interval: 1s}}
receivers:
- name: own
  webhook_configs: [{{url: "{webhook}", send_resolved: true}}]
"""


class Alertmanager:
    """Runs for as long as the ``with`` block; tells everything to ``webhook``."""

    def __init__(self, folder: Path, webhook: str, external_url: str = "") -> None:
        self._folder = folder
        self._external_url = external_url
        folder.mkdir()
        (folder / "alertmanager.yml").write_text(CONFIG.format(webhook=webhook), encoding="utf-8")
        self._port = closed_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; it knows nothing of a life before."""
        assert PROGRAM is not None
        log = (self._folder / "log").open("ab")
        arguments = [
            f"--config.file={self._folder / 'alertmanager.yml'}",
            f"--storage.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--cluster.listen-address=",
        ]
        if self._external_url:
            arguments += [f"--web.external-url={self._external_url}", "--web.route-prefix=/"]
        self._process = subprocess.Popen([PROGRAM, *arguments], stdout=log, stderr=log)
        log.close()
        self.wait_until(self._is_ready, "Alertmanager is ready")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(GIVE_UP_S)
            self._process = None

    def alerts(self) -> list[dict[str, Any]]:
        """Return what is on, as its API shows it."""
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v2/alerts").json()
        return found

    def wait_until(self, holds: Callable[[], T], what: str) -> T:
        """Return what ``holds`` returns as soon as it is true."""
        give_up_s = time.monotonic() + GIVE_UP_S
        while time.monotonic() < give_up_s:
            if found := holds():
                return found
            time.sleep(0.05)
        log = (self._folder / "log").read_text(encoding="utf-8")
        raise AssertionError(f"not within {GIVE_UP_S} s: {what}\n{log[-3000:]}")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

"""A real daemon in a process of its own, for the end-to-end tests.

It is started as a user starts it, ``alertd run --config FILE``, on a port that the kernel
chooses; the address is read from its log. ``stop`` and ``kill`` end it, ``start`` starts it
again on the same files.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

GIVE_UP_S = 20.0
UNEXPECTED = ("request_failed", "connection_failed", "daemon_failed", "not JSON")
"""Events of the log that mean a defect, whatever a test does."""
JSON = {"Content-Type": "application/json"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")

MINIMAL = """
[server]
bind = "127.0.0.1:0"
shutdown_grace_secs = 1
[logging]
format = "json"
level = "debug"
"""


def to_us(text: str) -> int:
    """Return an RFC 3339 time in microseconds since the epoch."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def to_rfc3339(time_us: int) -> str:
    """Return microseconds since the epoch as the daemon writes them."""
    moment = EPOCH + timedelta(microseconds=time_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Daemon:
    """``alertd run`` on ``minimal`` and ``config`` (TOML), with its state in ``folder``.

    ``module`` is what Python runs in alertd's place.
    """

    def __init__(
        self,
        folder: Path,
        config: str = "",
        *,
        minimal: str = MINIMAL,
        environ: Mapping[str, str] | None = None,
        module: str = "alertd",
    ) -> None:
        self.folder = folder
        self._module = module
        self._minimal = minimal
        self.config_path = folder / "alertd.toml"
        self.write_config(config)
        self.environ = {
            **os.environ, "STATE_DIRECTORY": str(folder / "state"), **(environ or {})
        }  # fmt: skip
        self._process: subprocess.Popen[str] | None = None
        self._client: httpx.Client | None = None
        self._reader: threading.Thread | None = None
        self._line_came = threading.Condition()
        self.lines: list[dict[str, Any]] = []
        """What it has logged since it was started last."""
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    @contextmanager
    def launched(self) -> Iterator[Self]:
        """Run it for as long as the block does, which begins when it listens."""
        self.launch()
        self.wait_until_listening()
        with ExitStack() as stack:
            stack.push(self.__exit__)
            yield self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.kill()
        if error is None:
            unexpected = [line for line in self.lines if line["event"] in UNEXPECTED]
            assert not unexpected, unexpected
        else:
            sys.stderr.write("".join(f"{json.dumps(line)}\n" for line in self.lines[-40:]))

    def write_config(self, config: str) -> None:
        """Replace the configuration file."""
        self.config_path.write_text(self._minimal + config, encoding="utf-8")

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def client(self) -> httpx.Client:
        """An HTTP client for it, made anew at each start."""
        assert self._client is not None
        return self._client

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it."""
        self.lines = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, "run", "--config", str(self.config_path)],
            stderr=subprocess.PIPE,
            text=True,
            env=self.environ,
            cwd=self.folder,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()

    def wait_until_ready(self) -> None:
        """Wait until it has recovered."""
        self.wait_until_listening()
        self._started("ready")

    def wait_until_listening(self) -> None:
        """Wait until it answers requests, by saying that it recovers perhaps."""
        line = self._started("listening")
        self.url = f"http://{line['address']}"
        self._client = httpx.Client(base_url=self.url, timeout=GIVE_UP_S, trust_env=False)

    def _started(self, event: str) -> dict[str, Any]:
        """Return the line that says how far its start is; let go of it if there is none."""
        try:
            return self.wait_for_log(event)
        except BaseException:
            self.kill()
            raise

    def stop(self, signal_number: int = signal.SIGTERM) -> float:
        """Ask it to stop, wait for its end, and return how many seconds that took."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal_number)
        self.wait_for_end()
        return time.monotonic() - began

    def wait_for_end(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        assert self._process is not None
        self.exit_code = self._process.wait(GIVE_UP_S)
        self._forget()
        return self.exit_code

    def kill(self) -> None:
        """End it without any warning."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(GIVE_UP_S)
        self._forget()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def wait_for_log(self, event: str, *, count: int = 1, **fields: object) -> dict[str, Any]:
        """Return the ``count``-th log line with this event and these fields, once it is there."""

        def found() -> list[dict[str, Any]]:
            return [
                line
                for line in self.lines
                if line.get("event") == event
                and all(line.get(name) == value for name, value in fields.items())
            ]

        with self._line_came:
            came = self._line_came.wait_for(
                lambda: len(found()) >= count or not self.alive, GIVE_UP_S
            )
            lines = found()
        assert came, f"no {event!r} in the log after {GIVE_UP_S} s"
        assert len(lines) >= count, f"it ended before it logged {event!r}: {self.lines[-20:]}"
        return lines[count - 1]

    def assert_no_request_broke_off(self) -> None:
        """Fail if an answer was begun and not ended; only a hostile client can bring that about."""
        broken = [line for line in self.lines if line["event"] == "Error in ASGI Framework"]
        assert not broken, broken

    # ---- what tests ask of it over HTTP

    def post_events(self, events: object, expected_status: int = 202) -> dict[str, Any]:
        """Push events and return the answer."""
        answer = self.client.post("/api/events", content=json.dumps(events), headers=JSON)
        assert answer.status_code == expected_status, answer.text
        return dict(answer.json())

    def post_rule(self, expected_status: int = 201, /, **fields: object) -> dict[str, Any]:
        """Make a rule and return the answer."""
        answer = self.client.post("/api/alerts", content=json.dumps(fields), headers=JSON)
        assert answer.status_code == expected_status, answer.text
        return dict(answer.json())

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """Return what is at ``path``."""
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def history(self, path: str = "/api/history", **params: str | int) -> list[dict[str, Any]]:
        """Return every incident of a history, page by page."""
        items: list[dict[str, Any]] = []
        page = self.get(path, limit=1000, **params)
        items += page["items"]
        while page.get("nextCursor"):
            page = self.get(path, limit=1000, cursor=page["nextCursor"], **params)
            items += page["items"]
        return items

    def wait_until_judged(self) -> None:
        """Wait until everything that was accepted has been judged and recorded."""
        self.wait_until(lambda: self.get("/api/status")["lagSecs"] == 0, "all is judged")

    def wait_until_told(self) -> None:
        """Wait until everything is judged and no notification is pending any more."""
        self.wait_until_judged()
        self.wait_until(lambda: not self.history(status="RETRY_PENDING"), "all are told")

    def wait_until(self, holds: Callable[[], T], what: str) -> T:
        """Ask ``holds()`` until it answers with something true; return that."""
        deadline = time.monotonic() + GIVE_UP_S
        while time.monotonic() < deadline:
            if answer := holds():
                return answer
            time.sleep(0.02)
        raise AssertionError(f"{what}: not so after {GIVE_UP_S} s")

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for text in process.stderr:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"event": "not JSON", "text": text}
            with self._line_came:
                self.lines.append(line)
                self._line_came.notify_all()
        with self._line_came:
            self._line_came.notify_all()

    def _forget(self) -> None:
        assert self._process is not None
        assert self._reader is not None
        self._reader.join(GIVE_UP_S)
        assert self._process.stderr is not None
        self._process.stderr.close()
        if self._client is not None:
            self._client.close()
        self._process = self._client = None

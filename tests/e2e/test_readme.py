"""README's first message and docs/api.md: each line runs, and answers, as it is written there."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from alertd.http.routes import ROUTES
from tests.e2e.daemon import GIVE_UP_S, Daemon

Json = Any  # decoded JSON

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
API_PAGE = ROOT / "docs/api.md"
ADDRESS = "http://127.0.0.1:9470"
"""As it is written there; the test's daemon has another port."""
END = "--- end of block ---"
ELLIPSIS = "…"

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("jq") is None,
    reason="the lines need curl and jq",
)


@dataclass(frozen=True)
class Block:
    """Lines of shell, and the answer that is shown behind them."""

    shell: str
    shown: Json | None


@dataclass(frozen=True)
class Request:
    """What curl did, by its own account."""

    status: int
    method: str
    path: str


def blocks() -> list[Block]:
    """Return the page's blocks in order."""
    page = API_PAGE.read_text(encoding="utf-8")
    fenced = re.findall(r"^```(sh|json)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    found: list[Block] = []
    for language, body in fenced:
        if language == "sh":
            found.append(Block(body, None))
        else:
            assert found[-1].shown is None, body
            found[-1] = Block(found[-1].shell, json.loads(body))
    return found


class Shell:
    """One ``/bin/sh`` for all blocks, so that its variables stay."""

    def __init__(self, folder: Path) -> None:
        (folder / ".curlrc").write_text(
            'write-out = "%{stderr}%{http_code} %{method} %{url_effective}\\n"\n', encoding="utf-8"
        )
        self._account = (folder / "account").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            ["/bin/sh", "-u"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._account,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "CURL_HOME": str(folder)},
            text=True,
        )

    def run(self, shell: str) -> tuple[str, list[Request]]:
        """Run a block; return what it printed, and the requests that it made."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        before = self._account.seek(0, 2)
        stdin.write(f"{shell}\necho; echo '{END}'\n")
        stdin.flush()
        printed = "".join(_until_end(stdout))
        self._account.seek(before)
        return printed, [_request(line) for line in self._account.read().splitlines()]

    def close(self) -> None:
        """End it."""
        self._process.communicate()
        self._account.close()


def _until_end(lines: IO[str]) -> Iterator[str]:
    for line in lines:
        if line.strip() == END:
            return
        yield line
    raise AssertionError("the shell has ended")


def _request(line: str) -> Request:
    match = re.fullmatch(r"(\d{3}) ([A-Z]+) http://[^/]+(/[^?]*)(?:\?.*)?", line)
    assert match is not None, line
    return Request(int(match[1]), match[2], match[3])


def is_as_shown(shown: Json, answer: Json, place: str = "") -> None:
    """Fail unless ``answer`` has all that is shown; an ellipsis stands for any text."""
    if isinstance(shown, dict):
        assert isinstance(answer, dict), place
        for name, member in shown.items():
            assert name in answer, f"{place}/{name} is shown, and is not there"
            is_as_shown(member, answer[name], f"{place}/{name}")
    elif isinstance(shown, list) and shown:
        assert len(answer) >= len(shown), place
        for index, item in enumerate(shown):
            is_as_shown(item, answer[index], f"{place}/{index}")
    elif isinstance(shown, str) and ELLIPSIS in shown:
        assert isinstance(answer, str), place
    elif place in ("/uptimeSecs", "/store/sizeBytes"):
        assert isinstance(answer, int | float), place
    else:
        assert answer == shown, place


def run_until_as_shown(shell: Shell, block: Block, url: str) -> list[Request]:
    """Run a block; what only reads may be asked again for a while, as a person is not so quick."""
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        printed, requests = shell.run(block.shell.replace(ADDRESS, url))
        try:
            if block.shown is not None:
                is_as_shown(block.shown, json.loads(printed))
        except AssertionError:
            is_reading = all(request.method == "GET" for request in requests)
            if not is_reading or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return requests


def test_every_line_runs_as_it_is_written_and_answers_as_it_is_shown(tmp_path: Path) -> None:
    asked: list[Request] = []
    with Daemon(tmp_path) as daemon:
        shell = Shell(tmp_path)
        try:
            for block in blocks():
                requests = run_until_as_shown(shell, block, daemon.url)
                status = (block.shown or {}).get("status")
                least = status if isinstance(status, int) else 200
                assert all(least <= request.status < least + 100 for request in requests), requests
                asked += requests
        finally:
            shell.close()
    assert {route_of(request) for request in asked} == {route.operation for route in ROUTES}


def first_message() -> tuple[list[str], Json]:
    """Return the shell of README's first message, and the message as it is shown."""
    text = README.read_text(encoding="utf-8")
    chapter = text[text.index("\n### The first message\n") :]
    chapter = chapter[: chapter.index("\n## ", 1)]
    fenced = re.findall(r"^```(sh|json)\n(.*?)^```$", chapter, re.DOTALL | re.MULTILINE)
    [shown] = [json.loads(body) for language, body in fenced if language == "json"]
    return [body for language, body in fenced if language == "sh"], shown


def wait_until(holds: Callable[[], bool]) -> None:
    """Return when ``holds()`` does."""
    until_s = time.monotonic() + GIVE_UP_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def is_open(port: int) -> bool:
    """Return whether somebody listens there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_the_first_message_arrives_as_it_is_shown(tmp_path: Path) -> None:
    (receiver, *steps), shown = first_message()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    received = tmp_path / "received"
    with Daemon(tmp_path) as daemon, received.open("w") as printed:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/alertd.toml").symlink_to(daemon.config_path)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environ = {**daemon.environ, "PATH": path, "ALERTD_URL": daemon.url}

        def command(shell: str) -> list[str]:
            return ["/bin/sh", "-ec", shell.replace("8000", str(port)).replace(ADDRESS, daemon.url)]

        with subprocess.Popen(command(f"exec {receiver}"), stdout=printed) as receiving:
            try:
                wait_until(lambda: is_open(port))
                for step in steps:
                    subprocess.run(
                        command(step), cwd=tmp_path, env=environ, check=True, timeout=GIVE_UP_S
                    )
                wait_until(lambda: received.read_text().count("\n") == 2)
            finally:
                receiving.kill()
        test, alert = map(json.loads, received.read_text().splitlines())
    assert test["kind"] == "test"
    is_as_shown(shown, alert)


def route_of(request: Request) -> str:
    """Return the operation that was asked for."""
    for route in ROUTES:
        pattern = re.sub(r"<\w+>", "[^/]+", route.path)
        if route.method == request.method and re.fullmatch(pattern, request.path):
            return route.operation
    raise AssertionError(f"no route for {request}")

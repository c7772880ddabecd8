"""systemd's notification protocol, on real datagram sockets."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from alertd import sdnotify

RECEIVE_BYTES = 4096


class Manager:
    """The receiving end of ``NOTIFY_SOCKET``."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def messages(self) -> list[str]:
        received = []
        while True:
            try:
                received.append(self.socket.recv(RECEIVE_BYTES).decode())
            except BlockingIOError:
                return received


@pytest.fixture(params=["file", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Manager]:
    if request.param == "file":
        named = bound = str(tmp_path / "notify")
    else:
        named, bound = f"@alertd-test-{os.getpid()}", f"\0alertd-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", named)
    receiver = Manager(bound)
    yield receiver
    receiver.socket.close()


def test_a_new_phase_of_a_start_is_told_at_once_and_the_rest_once_a_second(
    manager: Manager,
) -> None:
    now_s = 100.0
    start = sdnotify.Start(30_000_000, lambda: now_s)
    wait = "EXTEND_TIMEOUT_USEC=30000000"
    start.goes_on("opening the store", phase="opening the store")
    start.goes_on("reading the newest snapshot", phase="reading the newest snapshot")
    for share in (1, 2, 3):
        start.goes_on(f"replaying: {share}%", phase="replaying")
    assert manager.messages() == [
        "STATUS=opening the store",
        wait,
        "STATUS=reading the newest snapshot",
        wait,
        "STATUS=replaying: 1%",
        wait,
    ]
    now_s += 1
    start.goes_on("replaying: 4%", phase="replaying")
    assert manager.messages() == ["STATUS=replaying: 4%", wait]


def test_each_message_is_one_datagram_in_systemds_words(manager: Manager) -> None:
    sdnotify.status("recovering\nthe  log")
    sdnotify.extend_timeout(30_000_000)
    sdnotify.ready()
    sdnotify.watchdog()
    sdnotify.stopping()
    assert manager.messages() == [
        "STATUS=recovering the log",
        "EXTEND_TIMEOUT_USEC=30000000",
        "READY=1",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_reloading_says_when_by_the_monotonic_clock(manager: Manager) -> None:
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    sdnotify.reloading()
    after_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    [message] = manager.messages()
    reloading, monotonic = message.split("\n")
    assert reloading == "RELOADING=1"
    assert before_us <= int(monotonic.removeprefix("MONOTONIC_USEC=")) <= after_us


def test_nothing_is_sent_without_a_socket(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET")
    sdnotify.ready()
    assert manager.messages() == []


def test_a_manager_that_went_away_does_not_stop_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody-listens"))
    sdnotify.watchdog()


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_time_and_only_if_it_is_ours(
    environ: dict[str, str], interval_s: float | None
) -> None:
    assert sdnotify.watchdog_interval_s(environ) == interval_s


async def test_the_watchdog_is_fed_only_while_the_daemon_is_alive(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    alive = True
    with trio.move_on_after(21):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sdnotify.run_watchdog, lambda: alive, {"WATCHDOG_USEC": "4000000"})
            await trio.sleep(9)
            assert manager.messages() == ["WATCHDOG=1"] * 5
            alive = False
            await trio.sleep(6)
            assert manager.messages() == []
            alive = True
            await trio.sleep_forever()
    assert manager.messages() == ["WATCHDOG=1"] * 3


async def test_without_a_watchdog_there_is_nothing_to_run(manager: Manager) -> None:
    await sdnotify.run_watchdog(lambda: True, {})
    assert manager.messages() == []

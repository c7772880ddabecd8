from __future__ import annotations

import socket
import ssl
from typing import Any

import httpcore
import httpx
import pytest
import trio

from alertd.channels.factory import ChannelFactory
from alertd.channels.forbidden import forbidden_kind, forbidden_kind_of_url
from alertd.channels.guarded import (
    ForbiddenAddress,
    GuardedBackend,
    GuardedTransport,
)
from alertd.channels.protocol import Delivered, Permanent
from alertd.model import Target
from tests.receivers import http_receiver
from tests.unit.channels.messages import message

FORBIDDEN = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1"),  # noqa: S104
    *("172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255"),
    *("192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "fe80::1"),
    *("fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "ff0e::1"),
    *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2001::1"),
    *("2001:db8::1", "100::1", "::ffff:100.64.0.1", "::ffff:224.0.0.1", "::ffff:168.63.129.16"),
    *("::ffff:0:127.0.0.1", "::ffff:0:a00:1", "3fff::1", "5f00::1"),
]
ALLOWED = [
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "172.32.0.1",
    "::ffff:8.8.8.8",
    "2606:4700::1111",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert forbidden_kind(address) is not None


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_are_allowed(address: str) -> None:
    assert forbidden_kind(address) is None


LOOPBACK = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7f000001", "017700000001", "0"),
    *("localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
]


@pytest.mark.parametrize("host", [*LOOPBACK, "a.LocalHost.", "10.0.0.1", "[fe80::1]"])
def test_a_url_that_leads_inside_is_known_without_a_look_at_names(host: str) -> None:
    assert forbidden_kind_of_url(f"http://{host}:18801/x") is not None


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "[2606:4700::1111]", "intranet", "a..b", "localhost.x", "[[", "]"]
)
def test_a_url_that_leads_outside_or_has_a_name_is_not_refused(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def only_numbers(host: str, port: None, *, flags: int) -> object:
        assert flags & socket.AI_NUMERICHOST, "a name would be looked up"
        return look_up(host, port, flags=flags)

    monkeypatch.setattr(socket, "getaddrinfo", only_numbers)
    assert forbidden_kind_of_url(f"https://{host}/x") is None


@pytest.mark.parametrize("host", LOOPBACK)
async def test_no_spelling_of_loopback_reaches_a_server_on_it(host: str) -> None:
    factory = ChannelFactory({})
    with http_receiver() as receiver:
        target = Target("WEBHOOK", f"http://{host}:{receiver.port}/hook")
        outcome = await factory.for_target(target).send(message())
        assert isinstance(outcome, Permanent)
        assert "may not reach" in outcome.reason
        assert receiver.connections == 0
    await factory.aclose()


async def test_nat64_of_loopback_is_refused_before_it_is_tried() -> None:
    factory = ChannelFactory({})
    for channel in ("WEBHOOK", "SLACK"):
        target = Target(channel, "http://[64:ff9b::7f00:1]/hook")
        outcome = await factory.for_target(target).send(message())
        assert isinstance(outcome, Permanent)
        assert "tunnel" in outcome.reason
    await factory.aclose()


async def test_the_server_wide_option_lets_endpoints_reach_loopback() -> None:
    factory = ChannelFactory({}, allow_private_endpoints=True)
    with http_receiver() as receiver:
        outcome = await factory.for_target(Target("WEBHOOK", receiver.url())).send(message())
        assert outcome == Delivered()
        assert len(receiver.wait_for(1)) == 1
        await factory.aclose()


class ScriptedResolver(trio.abc.HostnameResolver):
    """A name server under the attacker's control: answers in turn, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    # The signature is trio's.
    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        kinds = [(socket.AF_INET6 if ":" in a else socket.AF_INET, a) for a in answer]
        return [(kind, socket.SOCK_STREAM, 6, "", (a, port)) for kind, a in kinds]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


async def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    trio.socket.set_custom_hostname_resolver(ScriptedResolver(["8.8.8.8", "10.0.0.1"]))
    with pytest.raises(ForbiddenAddress):
        await GuardedBackend().connect_tcp("rebind.example", 80)


async def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the second answer is loopback, and must not matter."""
    resolver = ScriptedResolver(["8.8.8.8"], ["127.0.0.1"])
    trio.socket.set_custom_hostname_resolver(resolver)
    dialled: list[str] = []

    async def dial(
        backend: httpcore.TrioBackend, host: str, *args: object
    ) -> httpcore.AsyncNetworkStream:
        dialled.append(host)
        raise httpcore.ConnectError("not in a test")

    monkeypatch.setattr(httpcore.TrioBackend, "connect_tcp", dial)
    with pytest.raises(httpcore.ConnectError):
        await GuardedBackend().connect_tcp("rebind.example", 80)
    assert dialled == ["8.8.8.8"]
    assert resolver.asked == 1


async def test_the_guard_is_what_httpx_connects_with() -> None:
    """An httpx that keeps its pool elsewhere must not go round the guard."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = GuardedTransport(context, httpx.Limits())
    with http_receiver() as receiver:
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            with pytest.raises(ForbiddenAddress):
                await client.get(receiver.url())


async def test_a_unix_socket_is_refused() -> None:
    with pytest.raises(ForbiddenAddress):
        await GuardedBackend().connect_unix_socket("/run/secret.sock")

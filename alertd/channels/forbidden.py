"""Addresses that an endpoint set over the API may not lead to: those inside.

Owns the rule, and what a URL says of it before anything is looked up. IANA's special-purpose
registries are in ``ipaddress.is_global``; what that lets through (multicast, NAT64, 6to4, Teredo,
…) is refused in addition, because such an address can carry a private one inside. Leaves to
``guarded.py`` to see to it that nothing connects there, whatever a name leads to by then.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = "a loopback address"
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TUNNELS: Final = tuple(
    ipaddress.ip_network(block)
    for block in (
        "::/96",  # IPv4-compatible, RFC 4291
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765
        "64:ff9b::/96",  # NAT64, RFC 6052
        "64:ff9b:1::/48",  # NAT64 for local use, RFC 8215
        "2001::/32",  # Teredo, RFC 4380
        "2002::/16",  # 6to4, RFC 3056
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
    )
)
_NOT_GLOBAL: Final = tuple(
    ipaddress.ip_network(block)
    for block in (
        "3fff::/20",  # documentation, RFC 9637
        "5f00::/16",  # segment routing, RFC 9602
    )
)
"""In the registries, and too new for ``is_global``."""
_CLOUD_METADATA: Final = ipaddress.ip_address("168.63.129.16")
"""Azure's host services: a public address that leads into the host."""


def forbidden_kind(address: str) -> str | None:
    """Return what kind of address ``address`` is if it is refused, None if it is allowed.

    ``address`` is numeric, as ``getaddrinfo`` returns it, with or without a scope.
    """
    ip: _Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_unspecified:
        return "an unspecified address"
    if ip.is_loopback:
        return LOOPBACK
    if ip.is_link_local:
        return "a link-local address"
    if ip.is_multicast:
        return "a multicast address"
    if any(ip in block for block in _TUNNELS):
        return "a tunnel to another address"
    is_listed = ip == _CLOUD_METADATA or any(ip in block for block in _NOT_GLOBAL)
    if is_listed or not ip.is_global or getattr(ip, "is_site_local", False):
        return "a private or reserved address"
    return None


def forbidden_kind_of_url(url: str) -> str | None:
    """Return what kind of address ``url`` names if that is refused, whatever the spelling.

    None if it is allowed, and where it has a name: that leads to what it leads to when it is used.
    None for what is no address as well, which leads nowhere.
    Nothing is looked up; ``localhost`` needs no look (RFC 6761, section 6.3).
    """
    try:
        host = (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:
        return None
    if host == "localhost" or host.endswith(".localhost"):
        return LOOPBACK
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None  # a name
    return forbidden_kind(str(found[0][4][0]))

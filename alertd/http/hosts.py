"""Whom a request may be addressed to, and where a page may be that a browser sends it from.

Owns the defence against web pages. A page can have its own name lead to this machine (DNS
rebinding) and so read what is meant for those who are on it; its requests say its name in
``Host``, which is refused. A page can also post to us blindly; browsers mark that with
``Origin`` and ``Sec-Fetch-Site``. An IP address in ``Host`` cannot be rebound, so all of them are
right. There are no cookies, and no header ever allows another origin to read (CORS).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing (RFC 9110, section 9.2.1)."""

_REMEMBERED: Final = 256
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@]+)(?::[0-9]{0,5})?")


class Hosts:
    """The names that we go by."""

    def __init__(self, names: Iterable[str], *, any_name: bool) -> None:
        """``*.example.org`` in ``names`` means all below it. With ``any_name`` all are right."""
        names = [name.lower() for name in names]
        self._any_name = any_name
        self._names = frozenset(name for name in names if not name.startswith("*."))
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        self.allows = lru_cache(_REMEMBERED)(self._allows)

    def _allows(self, host: str) -> bool:
        """Return whether ``host``, the value of a ``Host`` header, is one of ours."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower().removesuffix(".")
        return (
            self._any_name
            or name in self._names
            or name.endswith(self._suffixes)
            or _is_ip_address(name.strip("[]"))
        )


def own_names(bind: str, public_url: str | None) -> Collection[str]:
    """Return the names that we go by without being told."""
    hosts = (urlsplit(f"//{bind}").hostname, urlsplit(public_url or "").hostname)
    return {"localhost", "*.localhost", *filter(None, hosts)}


def is_foreign(method: str, host: str, origin: str | None, fetch_site: str | None) -> bool:
    """Return whether a browser sends this on behalf of a page that is not ours.

    ``Sec-Fetch-Site`` says so itself; older browsers have only ``Origin``, which must then be of
    our ``Host``. What is not a browser sends neither.
    """
    if method in SAFE_METHODS:
        return False
    if fetch_site is not None:
        return fetch_site not in ("same-origin", "none")
    return origin is not None and origin.partition("://")[2] != host


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

"""What makes an address one that can be posted to: asked of the library that will do so."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx


def url_problem(url: str) -> str | None:
    """Return why ``url`` cannot be posted to, None if it can."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must be ASCII without spaces, line breaks or control characters"
    try:
        parsed = httpx.URL(url)
        urlsplit(url)  # is stricter with brackets, and asked where an HTTP client is not loaded
    except (httpx.InvalidURL, ValueError):
        return "is not a valid address"
    if parsed.scheme not in ("http", "https") or not parsed.host:
        return "must be an http:// or https:// address with a host"
    if parsed.port is not None and not 1 <= parsed.port <= 65535:
        return "has a port that is not between 1 and 65535"
    return None

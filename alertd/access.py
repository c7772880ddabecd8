"""Who may do what: the scopes that a caller can have."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """A part of the HTTP interface that a caller may be allowed."""

    INGEST = "ingest"
    """Push events."""
    READ = "read"
    """Look at everything: events, rules, incidents, metrics."""
    WRITE = "write"
    """Change rules, silences and what becomes of notifications."""
    ADMIN = "admin"
    """Run the daemon; whoever has this may do everything."""

"""Puts the root of the repository on the import path: tests share code as ``tests.…``."""

from __future__ import annotations

from hypothesis import settings

# A machine that is busy with something else makes no example wrong.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

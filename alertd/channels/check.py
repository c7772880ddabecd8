"""What is wrong with a channel's configuration, found before anything is sent.

Owns every check that one table can be given without the network; ``alertd check`` and
``factory.py`` use the same. Paths are JSON pointers into the table (``/headers/X-Key``).
What only one type of channel can have wrong is told by ``kinds/``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from alertd.channels.config import ChannelConfig
from alertd.channels.kinds import kind_of
from alertd.errors import Problem
from alertd.escalation import escalation_problems
from alertd.model import Target

MAX_TIMEOUT_SECS: Final = 60
MAX_CONCURRENCY: Final = 1000
MAX_PER_MINUTE: Final = 10_000


def channel_problems(
    config: ChannelConfig, environ: Mapping[str, str] = os.environ
) -> list[Problem]:
    """Return everything that is wrong with ``config``; an empty list means that it can be used.

    Reads the secret and certificate files that it names.
    """
    problems = []
    if not 0 < config.timeout_secs <= MAX_TIMEOUT_SECS:
        problems.append(Problem("/timeout_secs", f"must be above 0 and at most {MAX_TIMEOUT_SECS}"))
    problems += _limits(config)
    others = [Target(name) for name in config.escalate_to]
    problems += escalation_problems(config.escalate_after_secs, others, at_once=())
    problems += kind_of(config).problems(config, environ)
    return problems


def _limits(config: ChannelConfig) -> list[Problem]:
    bounds = {
        "concurrency": (config.concurrency, MAX_CONCURRENCY),
        "max_per_minute": (config.max_per_minute, MAX_PER_MINUTE),
    }
    return [
        Problem(f"/{key}", f"must be between 1 and {bound}")
        for key, (given, bound) in bounds.items()
        if given is not None and not 1 <= given <= bound
    ]

"""The types of channels, a module each: what makes one wrong, and what it is made of.

A module has the name of the type, as ``config.py`` tags it, and is imported with the first channel
of it. What some of them stand on (an HTTP client, mail, templates) takes longer to load than a
daemon to start that is without.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol, TypeVar, cast

from alertd.channels.config import ChannelConfig
from alertd.channels.protocol import Channel
from alertd.errors import Problem

C = TypeVar("C", contravariant=True)


class Kind(Protocol[C]):
    """One type of channel; modules are such."""

    def problems(self, config: C, environ: Mapping[str, str]) -> list[Problem]:
        """Return what is wrong with a channel of it, beside what can be wrong with any."""
        ...

    def make(self, name: str, config: C, environ: Mapping[str, str]) -> Channel:
        """Return the channel. Nothing is wrong with ``config``."""
        ...


def kind_of(config: ChannelConfig) -> Kind[ChannelConfig]:
    """Return the type of the channel that ``config`` describes."""
    module = import_module(f"{__name__}.{config.__struct_config__.tag}")
    return cast("Kind[ChannelConfig]", module)  # typing knows a module only by its name

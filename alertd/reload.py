"""Reading the configuration again while the daemon runs.

Owns what a reload changes: the rules from files and the channels. Everything else is read at
start only, and a reload says so when it finds it changed. A configuration with any mistake
changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog
import trio

from alertd import sdnotify
from alertd.config import Config, load
from alertd.config_errors import ConfigError
from alertd.errors import AlertdError
from alertd.live_channels import LiveChannels
from alertd.rulebook import RuleBook

log = structlog.get_logger(__name__)

_READ_AT_START: Final = ("server", "store", "engine", "notify", "logging", "host_metrics")


class Reloader:
    """Applies a configuration to the running daemon, and remembers which one it runs on."""

    def __init__(
        self, path: Path, config: Config, rulebook: RuleBook, channels: LiveChannels
    ) -> None:
        self._path = path
        self._config = config
        self._rulebook = rulebook
        self._channels = channels

    async def start(self) -> None:
        """Take over the rules of the configuration that the daemon starts with.

        Raises ``AlertdError`` if they do not fit the rules that are there.
        """
        await self._take_rules(self._config)

    async def reload(self) -> bool:
        """Read the file again and apply it; return whether that worked. The log says why not."""
        sdnotify.reloading()
        try:
            config = await trio.to_thread.run_sync(load, self._path)
            self._rulebook.check_files(config.rules)
            self._channels.replace(config.channels)
            await self._take_rules(config)
        except ConfigError as error:
            for problem in error.problems:
                log.error("configuration not reloaded: nothing was changed", problem=str(problem))
            return False
        except AlertdError as error:
            log.error("configuration not reloaded", problem=str(error))
            return False
        else:
            for name in _READ_AT_START:
                if getattr(config, name) != getattr(self._config, name):
                    log.warning(f"a change of [{name}] takes effect at the next start")
            self._config = config
            return True
        finally:
            sdnotify.ready()

    async def _take_rules(self, config: Config) -> None:
        changed, gone = await self._rulebook.take_files(config.rules)
        log.info(
            "configuration applied",
            rules=len(config.rules),
            rules_changed=changed,
            rules_gone=gone,
            channels=len(config.channels),
        )

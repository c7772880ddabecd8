"""Reading the configuration again while the daemon runs.

Owns what a reload changes: the rules from files, the channels, the tokens, what is in the files of
certificates, and all that says who is told what and when. Everything else is read at start only,
and a reload says so when it finds it changed. SIGHUP, ``POST /api/reload`` and a change on disk all
come here, one at a time.

Invariant: a configuration with any mistake changes nothing, and so does a store that cannot
write. What the last reload was refused for is known until one is applied.

What is most likely not meant depends on all rules, those made over HTTP too. So it is looked for
again when these have changed, within seconds and for a small part of the time only.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio
from msgspec import structs

from alertd import sdnotify
from alertd.access import Token
from alertd.clock import format_us
from alertd.config.errors import ConfigConflict, ConfigError
from alertd.config.files import ConfigFiles, Stamps
from alertd.config.lint import Examined, examine
from alertd.config.rules import TomlRule
from alertd.config.settings import Config
from alertd.delivery.live_channels import LiveChannels
from alertd.errors import AlertdError, Overloaded, StoreUnavailable
from alertd.reports import (
    Changes,
    ConfigurationStatus,
    Mistake,
    ReloadRefusal,
    ReloadReport,
    Warned,
)
from alertd.rulebook import RuleBook
from alertd.rules import Source

WATCH_EVERY_S: Final = 2.0
REST_PER_LOOK: Final = 20
"""For so many times as long as a look for warnings took there is no other because of rules."""
MAX_WARNINGS: Final = 100
"""That a start, a reload or the status tells; ``alertd check`` tells all."""
MAX_MISTAKES: Final = 100
"""That the status tells of a reload that was refused; the log tells all."""
_READ_AT_START: Final = ("server", "lines", "store", "engine", "logging", "host_metrics")
_POLICIES: Final = ("notify", "route", "mute", "inhibit")

log = structlog.get_logger(__name__)


class Tokens(Protocol):
    """Who may use the HTTP interface: ``http.gate.Gate``."""

    def replace(self, tokens: tuple[Token, ...]) -> None:
        """Know ``tokens`` from now on. Raises ``Conflict``, changing nothing."""
        ...


class Certificates(Protocol):
    """What the HTTP interface shows of itself: ``tls.Tls``."""

    def renew(self) -> None:
        """Read the files again. Raises ``InvalidInput``, changing nothing; blocks."""
        ...


class Reloader:
    """Applies a configuration to the running daemon, and remembers which one it runs on."""

    def __init__(
        self,
        path: Path,
        config: Config,
        rulebook: RuleBook,
        channels: LiveChannels,
        tokens: Tokens,
        certificates: Certificates,
        *,
        now_us: Callable[[], int],
        use_policies: Callable[[Config], None],
    ) -> None:
        """``use_policies`` has people be told as a configuration says; it cannot fail."""
        self._path = path
        self._config = config
        self._config_at_start = config
        self._rulebook = rulebook
        self._channels = channels
        self._tokens = tokens
        self._certificates = certificates
        self._now_us = now_us
        self._use_policies = use_policies
        self.configuration = ConfigurationStatus(format_us(now_us()), (), 0)
        """What was found in what is applied, and what the last reload was refused for."""
        self._examined: Examined | None = None
        """What is applied; None as long as that was never on disk."""
        self._changes_seen = 0
        """How often rules had changed at the last look for warnings."""
        self._look_from_s = -math.inf
        """When the next may be."""
        self._files = ConfigFiles(path)
        self._tried: Stamps = {}
        """The files as they were when they were last applied or refused."""
        self._refused: Sequence[TomlRule] = ()
        """The rules in them, if they were refused for names of rules made over HTTP."""
        self._seen: Stamps = {}
        """The files as they were at the last look."""
        self._reloading = trio.Lock()

    async def start(self) -> None:
        """Take over the rules of the configuration that the daemon starts with.

        That was read before recovery, which may have taken long: if it is another one on disk by
        now, it is reloaded. A rule of a file that has the name of one made over HTTP is left out.
        """
        await self._take_rules(self._config, leave_out=True)
        self._tried = self._seen = await trio.to_thread.run_sync(self._files.look)
        examined = await self._unchanged()
        if examined is not None:
            await self._look_through(examined)
            return
        with contextlib.suppress(AlertdError):
            await self._read_and_apply()

    async def reload(self) -> ReloadReport:
        """Read the files again, apply them, and return what changed.

        What is wrong is logged too. Raises ``ConfigError`` with every mistake in the files,
        ``ConfigConflict`` where they do not fit the rules made over HTTP, ``Conflict``,
        ``Overloaded`` and ``StoreUnavailable``; nothing is changed then.
        """
        async with self._reloading:
            sdnotify.reloading()
            try:
                return await self._read_and_apply()
            finally:
                sdnotify.ready()

    async def reload_unasked(self) -> None:
        """Do what ``reload`` does where nobody waits for the outcome: the log has it."""
        with contextlib.suppress(AlertdError):
            await self.reload()

    async def watch(self) -> None:
        """Reload when a file changes on disk, and renew warnings, until cancelled."""
        while True:
            await trio.sleep(WATCH_EVERY_S)
            await self.look()
            await self.renew_warnings()

    async def look(self) -> None:
        """Reload if the files are not those tried last, and have not changed since the last look.

        So one that is still being written is left alone, and a bad one is tried once; one that was
        refused for names of rules made over HTTP is tried again when all of them are free.
        """
        last_seen, self._seen = self._seen, await trio.to_thread.run_sync(self._files.look)
        if self._seen != last_seen:
            return
        if self._seen != self._tried:
            log.info("configuration changed on disk")
            await self.reload_unasked()
        elif self._refused and not self._rulebook.has_clashes(self._refused):
            log.info("the names that the configuration was refused for are free")
            await self.reload_unasked()

    async def renew_warnings(self) -> None:
        """Look for them again if rules have changed since the last look."""
        async with self._reloading:
            examined, now_s = self._examined, trio.current_time()
            if examined is None or self._changes_seen == self._rulebook.changes:
                return
            if now_s >= self._look_from_s:
                known = self.configuration
                warnings, count = await self._warnings(examined, logged=known.warnings)
                self.configuration = structs.replace(known, warnings=warnings, warning_count=count)
                self._look_from_s = now_s + (1 + REST_PER_LOOK) * (trio.current_time() - now_s)

    async def _unchanged(self) -> Examined | None:
        """Return what is on disk if it is what the daemon runs on, else None."""
        try:
            examined = await trio.to_thread.run_sync(examine, self._path)
        except ConfigError:
            return None
        return examined if examined.config == self._config else None

    async def _read_and_apply(self) -> ReloadReport:
        """Try to; have the status say what it was refused for, until one is applied."""
        try:
            return await self._try_what_is_on_disk()
        except AlertdError as error:
            told = _mistakes(error)
            refused = ReloadRefusal(format_us(self._now_us()), told[:MAX_MISTAKES], len(told))
            self.configuration = structs.replace(self.configuration, refused=refused)
            raise

    async def _try_what_is_on_disk(self) -> ReloadReport:
        found = await trio.to_thread.run_sync(self._files.look)
        rules: Sequence[TomlRule] = ()
        try:
            examined = await trio.to_thread.run_sync(examine, self._path)
            rules = examined.config.rules
            report = await self._apply(examined)
        except (Overloaded, StoreUnavailable) as error:
            # Nothing is wrong with the files, so the next look on the disk tries them again.
            log.error("configuration not reloaded yet", problem=str(error))
            raise
        except (ConfigError, ConfigConflict) as error:
            self._tried, self._refused = found, rules
            for problem in error.problems:
                log.error("configuration not reloaded: nothing was changed", problem=str(problem))
            raise
        except AlertdError as error:
            self._tried, self._refused = found, ()
            log.error("configuration not reloaded", problem=str(error))
            raise
        self._tried, self._refused = found, ()
        return report

    async def _apply(self, examined: Examined) -> ReloadReport:
        before, config = self._config, examined.config
        self._rulebook.check_files(config.rules)
        await trio.to_thread.run_sync(self._certificates.renew)
        await trio.lowlevel.checkpoint_if_cancelled()
        # People are told as the files say before their rules find anything to tell.
        channels_before = self._channels.replace(
            config.channels, allow_private_endpoints=config.notify.allow_private_endpoints
        )
        self._use_policies(config)
        try:
            self._tokens.replace(config.auth.tokens)
            with trio.CancelScope(shield=True):  # a client that leaves must not halve a reload
                await self._take_rules(config)
        except AlertdError:
            self._channels.put_back(channels_before)
            self._use_policies(before)
            self._tokens.replace(before.auth.tokens)
            raise
        self._channels.retire(channels_before)
        self._config = config
        with trio.CancelScope(shield=True):  # what is applied must be known as tried, see ``look``
            await self._look_through(examined)
        report = ReloadReport(
            rules=_changes(
                {rule.spec.name: rule.spec for rule in before.rules},
                {rule.spec.name: rule.spec for rule in config.rules},
            ),
            channels=_changes(before.channels, config.channels),
            tokens=_changes(
                {token.name: token for token in before.auth.tokens},
                {token.name: token for token in config.auth.tokens},
            ),
            policies=tuple(
                name for name in _POLICIES if getattr(config, name) != getattr(before, name)
            ),
            at_next_start=tuple(
                name
                for name in _READ_AT_START
                if getattr(config, name) != getattr(self._config_at_start, name)
            ),
            warnings=self.configuration.warnings,
            warning_count=self.configuration.warning_count,
        )
        for name in report.at_next_start:
            log.warning(f"a change of [{name}] takes effect at the next start")
        return report

    async def _look_through(self, examined: Examined) -> None:
        """Remember what is applied now, and the warnings about it."""
        self._examined = examined
        warnings, count = await self._warnings(examined)
        self.configuration = ConfigurationStatus(format_us(self._now_us()), warnings, count)

    async def _warnings(
        self, examined: Examined, *, logged: Collection[Warned] = ()
    ) -> tuple[tuple[Warned, ...], int]:
        """Return the warnings that are told, and how many there are; log those that are new."""
        self._changes_seen = self._rulebook.changes
        others = [rule.spec for rule in self._rulebook.all() if rule.source is Source.API]
        found = await trio.to_thread.run_sync(examined.warnings, others)
        told = tuple(Warned(warning.place, warning.text) for warning in found[:MAX_WARNINGS])
        for warning in told:
            if warning not in logged:
                log.warning(
                    "the configuration says what is most likely not meant",
                    at=f"{warning.path}: {warning.message}",
                )
        return told, len(found)

    async def _take_rules(self, config: Config, *, leave_out: bool = False) -> None:
        changed, gone = await self._rulebook.take_files(config.rules, leave_out=leave_out)
        log.info(
            "configuration applied",
            rules=len(config.rules),
            rules_changed=changed,
            rules_gone=gone,
            channels=len(config.channels),
        )


def _mistakes(error: AlertdError) -> tuple[Mistake, ...]:
    if isinstance(error, (ConfigError, ConfigConflict)):
        return tuple(Mistake(problem.place, problem.text) for problem in error.problems)
    return (Mistake("", str(error)),)


def _changes(before: Mapping[str, object], after: Mapping[str, object]) -> Changes:
    kept = after.keys() & before.keys()
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(sorted(name for name in kept if after[name] != before[name])),
        removed=tuple(sorted(before.keys() - after.keys())),
    )

"""What a person can configure, and the reading of it from TOML.

Owns the keys, their units, defaults and bounds, and the checks across sections and files.
``etc/alertd.toml`` shows every key; a test holds the two together. Leaves the words of one
channel to ``channels/config.py`` and of one rule to ``rules.py``.

Invariant: a ``Config`` that ``read`` returned can be run: nothing in it has to be checked again.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from alertd.channels.config import ChannelConfig
from alertd.config.auth import AuthConfig, read_auth
from alertd.config.channels import read_channels
from alertd.config.document import Document
from alertd.config.errors import ConfigError
from alertd.config.lines import LinesConfig
from alertd.config.policy import read_routes, read_tables
from alertd.config.rules import TomlRule, read_rules
from alertd.config.section import Count, Days, Seconds, SecondsOrZero, Section
from alertd.config.server import ServerConfig
from alertd.errors import InvalidInput, Problem
from alertd.model import US_PER_S, Limits, Target
from alertd.notify.flapping import FlappingLimits
from alertd.notify.inhibit import Inhibition
from alertd.notify.mute import Mute
from alertd.notify.route import DEFAULT_GROUP_BY, Defaults, Route
from alertd.notify.settings import InhibitSpec, MuteSpec, RouteSpec, tells_somebody
from alertd.outbound import Timing
from alertd.rule_checks import EMAIL, RuleSetting
from alertd.rules import RuleSpec, compile_escalation, seconds_to_us
from alertd.tls import make_context

MAX_INCLUDED_FILES: Final = 1000
MAX_LABEL_CHARS: Final = 100


class StoreConfig(Section, frozen=True, kw_only=True):
    """``[store]``: the SQLite database."""

    path: str | None = None
    """The file; default ``$STATE_DIRECTORY/alertd.db``, else ``data/alertd.db``."""
    durability: Literal["full", "relaxed"] = "full"
    fold_after_events: Count = 1_000_000
    """So many events make a segment."""
    fold_after_secs: Seconds = 86_400
    """Fewer are folded when the oldest has waited for so long."""
    event_retention_days: Days = 30
    rollup_retention_days: Days = 365
    """Sums by minute of events that are gone; at least ``event_retention_days``."""
    history_retention_days: Days = 90
    quarantine_retention_days: Days = 30

    @property
    def event_retention_us(self) -> int:
        """``event_retention_days`` in microseconds."""
        return seconds_to_us(self.event_retention_days * 86_400)

    @property
    def history_retention_us(self) -> int:
        """How long ended incidents are kept, in microseconds: at least as long as events.

        What is judged again, from the store, is held against what was told of it.
        """
        days = max(self.history_retention_days, self.event_retention_days)
        return seconds_to_us(days * 86_400)

    def resolve_path(self, environ: Mapping[str, str] = os.environ) -> Path:
        """Return where the database is.

        systemd sets ``STATE_DIRECTORY`` (systemd.exec(5)): directories with colons in between.
        """
        if self.path is not None:
            return Path(self.path)
        state_directory = environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return Path(state_directory or "data") / "alertd.db"

    def problems(self) -> list[Problem]:
        """Refuse a path that cannot name a file, and rollups that would go before their events."""
        problems = []
        if self.path is not None and (not self.path.strip() or "\0" in self.path):
            problems.append(Problem("/path", f"expected the path of a file, got {self.path!r}"))
        if self.rollup_retention_days < self.event_retention_days:
            message = f"expected at least event_retention_days ({self.event_retention_days:g})"
            problems.append(
                Problem("/rollup_retention_days", f"{message}, got {self.rollup_retention_days:g}")
            )
        return problems


class EngineConfig(Section, frozen=True, kw_only=True):
    """``[engine]``: what is admitted and kept in memory."""

    max_future_skew_secs: SecondsOrZero = 60
    dedup_horizon_secs: SecondsOrZero = 86_400
    snapshot_interval_secs: Seconds = 30
    snapshot_every_events: Count = 5_000_000
    """A snapshot is taken before the interval is over when so many events have been judged."""
    reconcile_interval_secs: Seconds = 60
    max_queue_events: Count = 200_000
    """Accepted into the queue and not yet durable; at the bound requests are told 429."""
    max_series: Count = 1_000_000
    max_groups_per_rule: Count = Limits().groups_per_rule
    """Some 1 KB each; at the bound a new group's events are stored and not judged by the rule."""
    max_events_per_group: Count = Limits().events_per_group
    """That a rule's windows and lateness need, 16 bytes each; further ones as above."""
    max_remembered_ids: Count = 1_000_000
    """Event ids (some 100 bytes each); at the bound the oldest are forgotten early."""
    max_remembered_requests: Count = 1_000_000
    """Idempotency-Keys (some 300 bytes on disk each); the oldest go first, as above."""

    @property
    def limits(self) -> Limits:
        """What the engine keeps at most."""
        return Limits(
            groups_per_rule=self.max_groups_per_rule, events_per_group=self.max_events_per_group
        )


class NotifyConfig(Section, frozen=True, kw_only=True):
    """``[notify]``: how long and how often a notification is tried, and how many at a time."""

    retry_first_secs: Seconds = 1
    retry_max_secs: Seconds = 300
    max_age_secs: Seconds = 86_400
    max_attempts: Count = 1000
    concurrency_per_channel: Annotated[int, Meta(ge=1, le=1000)] = 8
    shutdown_deadline_secs: SecondsOrZero = 5
    allow_private_endpoints: bool = False
    """Whether endpoints set over HTTP may lead to loopback and private addresses."""
    group_by: tuple[str, ...] = DEFAULT_GROUP_BY
    """With the channel, what one message may hold: labels, ``ruleName`` and ``severity``."""
    group_wait_secs: SecondsOrZero = 0
    group_interval_secs: SecondsOrZero = 10
    collapse: bool = True
    """Whether an incident that ended before it could be told is told in one message."""
    flapping_changes: Annotated[int, Meta(ge=0, le=1000)] = FlappingLimits().changes
    """A rule's group that fires and resolves more often than this within ``flapping_within_secs``
    flaps: that is told once, and the rest when it is over. 0: never."""
    flapping_within_secs: Seconds = FlappingLimits().within_us / US_PER_S
    flapping_stable_secs: Seconds = FlappingLimits().stable_us / US_PER_S
    """Without a change for so long it is over, and what holds then is told."""

    @property
    def flapping(self) -> FlappingLimits:
        """When a series of incidents flaps."""
        return FlappingLimits(
            changes=self.flapping_changes,
            within_us=seconds_to_us(self.flapping_within_secs),
            stable_us=seconds_to_us(self.flapping_stable_secs),
        )

    @property
    def timing(self) -> Timing:
        """When the notifications of a group may leave."""
        return Timing(
            wait_us=seconds_to_us(self.group_wait_secs),
            interval_us=seconds_to_us(self.group_interval_secs),
            collapse=self.collapse,
        )

    def problems(self) -> list[Problem]:
        """Refuse waits that would shrink, and what cannot be grouped by."""
        problems = [
            Problem(f"/group_by/{index}", message)
            for index, name in enumerate(self.group_by)
            if (message := _label_problem(name, self.group_by[:index]))
        ]
        if self.retry_first_secs > self.retry_max_secs:
            message = f"expected at most retry_max_secs ({self.retry_max_secs:g})"
            problems.append(
                Problem("/retry_first_secs", f"{message}, got {self.retry_first_secs:g}")
            )
        return problems


class LoggingConfig(Section, frozen=True, kw_only=True):
    """``[logging]``: what is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    """``auto`` is ``console`` on a terminal and ``json`` elsewhere."""


class HostMetricsConfig(Section, frozen=True, kw_only=True):
    """``[host_metrics]``: events about this machine."""

    enabled: bool = False
    interval_secs: Annotated[float, Meta(ge=0.5, le=3600)] = 5


class Config(Struct, frozen=True, kw_only=True):
    """Everything that the files say, with the defaults of what they do not say."""

    server: ServerConfig = ServerConfig()
    lines: LinesConfig = LinesConfig()
    store: StoreConfig = StoreConfig()
    engine: EngineConfig = EngineConfig()
    notify: NotifyConfig = NotifyConfig()
    logging: LoggingConfig = LoggingConfig()
    host_metrics: HostMetricsConfig = HostMetricsConfig()
    auth: AuthConfig = AuthConfig()
    channels: dict[str, ChannelConfig] = msgspec.field(default_factory=dict)
    rules: tuple[TomlRule, ...] = ()
    route: tuple[RouteSpec, ...] = ()
    mute: tuple[MuteSpec, ...] = ()
    inhibit: tuple[InhibitSpec, ...] = ()
    include: tuple[str, ...] = ()
    """Patterns of further files, relative to the file that names them."""

    @property
    def defaults(self) -> Defaults:
        """How what a rule names is told."""
        escalations = {
            name: escalation
            for name, channel in self.channels.items()
            if (
                escalation := compile_escalation(
                    channel.escalate_after_secs,
                    tuple(Target(other) for other in channel.escalate_to),
                )
            )
        }
        return Defaults(self.notify.group_by, self.notify.timing, escalations)

    def policies(self) -> tuple[list[Mute], list[Inhibition], FlappingLimits]:
        """Return what holds notifications back, as the decisions take it."""
        return (
            [spec.compiled() for spec in self.mute],
            [spec.compiled() for spec in self.inhibit],
            self.notify.flapping,
        )

    def routes(self) -> tuple[Route, ...]:
        """Return the routes as the decisions take them."""
        defaults = self.defaults
        return tuple(spec.compiled(index, defaults) for index, spec in enumerate(self.route))

    def tells_somebody(self) -> Callable[[RuleSpec], bool]:
        """Return what decides whether anybody can be told of a rule's incidents.

        Without any channel that is not asked: alertd is to record then, and to be looked at.
        """
        return tells_somebody(self.route) if self.channels else lambda _: True


SECTIONS: Final[Mapping[str, type[Section]]] = {
    "server": ServerConfig,
    "lines": LinesConfig,
    "store": StoreConfig,
    "engine": EngineConfig,
    "notify": NotifyConfig,
    "logging": LoggingConfig,
    "host_metrics": HostMetricsConfig,
}

_MAIN_ONLY: Final = {"include": None, "auth": None, "route": None, "mute": None, "inhibit": None}
_INCLUDABLE: Final = {"channels": None, "rules": None}


def read(path: Path, environ: Mapping[str, str] = os.environ) -> tuple[Config, Sequence[Document]]:
    """Return the configuration in ``path`` and in the files that it includes, and those files.

    The one at ``path`` comes first. Reads secret and certificate files too, to see that they are
    there. Raises ``ConfigError`` with every mistake in every file.
    """
    main = Document(path)
    main.refuse_unknown((), main.table, {**SECTIONS, **_INCLUDABLE, **_MAIN_ONLY})
    # Any: each section has its own type; ``Config`` is built from them by name.
    sections: dict[str, Any] = {name: _section(main, name) for name in SECTIONS}
    problems_before = main.problem_count
    auth = read_auth(main, environ)
    if main.problem_count == problems_before and not auth.tokens:
        _check_reach(main, "server", sections["server"])
        _check_reach(main, "lines", sections["lines"])
    _check_tls(main, sections["server"])
    _check_queue(main, sections["server"], sections["engine"])
    mute = read_tables(main, "mute", MuteSpec)
    inhibit = read_tables(main, "inhibit", InhibitSpec)
    include = _patterns(main)
    documents = [main, *_included(main, include)]
    channels, channel_names = read_channels(documents, environ)
    route = read_routes(main, channel_names - {EMAIL})
    rules = read_rules(documents, RuleSetting(channel_names, sections["store"].event_retention_us))
    problems = [problem for document in documents for problem in document.problems]
    if problems:
        raise ConfigError(problems)
    config = Config(
        **sections,
        auth=auth,
        channels=channels,
        rules=rules,
        route=route,
        mute=mute,
        inhibit=inhibit,
        include=include,
    )
    return config, documents


def _section(main: Document, name: str) -> Section:
    """Return one section; what is wrong in it is noted, and the default stands in."""
    section = SECTIONS[name]
    table = main.subtable((name,), main.table.get(name, {}))
    if table is None:
        return section()
    values, wrong = main.values((name,), table, section)
    read = section(**values)
    main.refuse_all(
        (name,), table, (p for p in read.problems() if p.path.removeprefix("/") not in wrong)
    )
    return read


def _check_tls(main: Document, server: ServerConfig) -> None:
    try:
        make_context(server)
    except InvalidInput as error:
        main.refuse_all(("server",), main.table["server"], error.problems)


def _check_queue(main: Document, server: ServerConfig, engine: EngineConfig) -> None:
    if engine.max_queue_events < server.max_events_per_request:
        main.refuse(
            ("engine", "max_queue_events"),
            "expected at least server.max_events_per_request "
            f"({server.max_events_per_request}), or a full request would never fit, "
            f"got {engine.max_queue_events}",
        )


def _check_reach(main: Document, name: str, section: ServerConfig | LinesConfig) -> None:
    """Refuse an address that others can reach: without tokens, whoever does may do anything."""
    is_address = not any(problem.path == "/bind" for problem in section.problems())
    if is_address and not section.is_loopback:
        main.refuse(
            (name, "bind"),
            "expected a loopback address (127.0.0.1, [::1], localhost) as long as there is no "
            f"[[auth.tokens]], got {section.bind!r}; `alertd token new` makes a token",
        )


def _patterns(main: Document) -> tuple[str, ...]:
    entries = main.table.get("include", [])
    if isinstance(entries, list) and all(isinstance(entry, str) for entry in entries):
        return tuple(entries)
    main.refuse(("include",), 'expected an array of file patterns, like ["rules.d/*.toml"]')
    return ()


def _included(main: Document, patterns: tuple[str, ...]) -> list[Document]:
    """Return what the files that ``patterns`` name say, in their order."""
    directory = main.path.parent
    for index, pattern in enumerate(patterns):
        if not glob.has_magic(pattern) and not included_files(directory, (pattern,)):
            main.refuse(("include", index), f"expected a file, {pattern!r} is not there")
    files = included_files(directory, patterns)
    if len(files) > MAX_INCLUDED_FILES:
        main.refuse(("include",), f"expected at most {MAX_INCLUDED_FILES} files, got {len(files)}")
        return []
    documents = [Document(file) for file in files]
    for document in documents:
        for key in document.table.keys() - _INCLUDABLE.keys():
            document.refuse(
                (key,), f"belongs in {main.path}; expected [[rules]] and [channels.*] only"
            )
    return documents


def include_patterns(path: Path) -> tuple[str, ...]:
    """Return what the main file at ``path`` includes; nothing where that cannot be read."""
    return _patterns(Document(path))


def included_files(directory: Path, patterns: Iterable[str]) -> list[Path]:
    """Return the files that ``patterns`` name, each once, those of one pattern by name."""
    found = (sorted(glob.glob(pattern, root_dir=directory)) for pattern in patterns)
    return list(dict.fromkeys(directory / name for names in found for name in names))


def _label_problem(name: str, earlier: Sequence[str]) -> str | None:
    if not name.strip() or not name.isprintable() or len(name) > MAX_LABEL_CHARS:
        return f"expected the name of a label, of 1 to {MAX_LABEL_CHARS} printable characters"
    return f"expected each name once, got {name!r} again" if name in earlier else None

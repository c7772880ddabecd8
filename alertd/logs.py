"""How the log looks and what it never shows.

Owns the set-up of structlog and of the standard library's logging, which libraries use: both
go to standard error, one line an event, with one set of fields. Readable on a terminal, JSON
elsewhere (systemd, a pipe).

Invariant: the value of a field whose name says that it is a secret or an address is redacted,
at any depth. Texts that are put into the message itself are not seen here: log values as
fields. Tracebacks never show local variables.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from alertd.channels.redact import UNREADABLE, redact_address, redact_url
from alertd.config.settings import LoggingConfig

REDACTED: Final = "[redacted]"
AUDIT_LOGGER: Final = "alertd.audit"
"""Whose lines are written whatever the level is."""
audit_log: Final = structlog.wrap_logger(
    logging.getLogger(AUDIT_LOGGER),
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
)
"""Where it is written who did what."""
MAX_DEPTH: Final = 6
"""How deep a field's value is looked into; what lies deeper is not shown."""

_HEADLINE: Final = ("timestamp", "level", "logger", "event")

_SECRET_WORDS: Final = frozenset(
    {"authorization", "cookie", "credential", "password", "secret", "token"}
)
_ADDRESS_WORDS: Final = frozenset({"endpoint", "url"})
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(config: LoggingConfig, stream: TextIO | None = None) -> None:
    """Set up logging as ``config`` says, to ``stream`` (default: standard error).

    May be called again, after a reload. Libraries are heard from WARNING on, alertd from
    ``config.level`` on; Python's own warnings become log lines.
    """
    stream = stream if stream is not None else sys.stderr
    level = _LEVELS[config.level]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_rendering(config, stream),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h.formatter, type(formatter))]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("alertd").setLevel(level)
    logging.getLogger(AUDIT_LOGGER).setLevel(logging.INFO)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def redact(logger: WrappedLogger, method_name: str, event_dict: EventDict) -> EventDict:
    """Hide secrets and shorten addresses in the fields of ``event_dict``: a structlog processor.

    A field is judged by the words of its name: ``api_token`` and ``X-Token`` are secrets,
    ``endpoint`` and ``history_url`` addresses, of which only scheme and host are shown.
    """
    return {name: _redacted(name, value, MAX_DEPTH) for name, value in event_dict.items()}


def _redacted(name: object, value: Any, depth: int) -> Any:
    """Return ``value`` as it may be shown. Any: a field can hold anything."""
    words = _words(name)
    if words & _SECRET_WORDS and value is not None:
        return REDACTED
    if words & _ADDRESS_WORDS and isinstance(value, str):
        return _shortened(value)
    if isinstance(value, Mapping) or type(value) in (list, tuple):
        if depth == 0:
            return REDACTED
        if isinstance(value, Mapping):
            return {key: _redacted(key, item, depth - 1) for key, item in value.items()}
        return type(value)([_redacted(name, item, depth - 1) for item in value])
    return value


def _words(name: object) -> set[str]:
    """Return the words of a field's name, in lower case and in the singular."""
    return {word.removesuffix("s") for word in str(name).lower().replace("-", "_").split("_")}


def _shortened(address: str) -> str:
    """Return scheme and host of a URL, the first letter and domain of an e-mail address."""
    shown = redact_url(address)
    return redact_address(address) if shown == UNREADABLE else shown


def _rendering(config: LoggingConfig, stream: TextIO) -> list[Processor]:
    is_terminal = stream.isatty()
    if config.format == "console" or (config.format == "auto" and is_terminal):
        return [
            structlog.dev.ConsoleRenderer(
                colors=is_terminal, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    return [
        structlog.processors.format_exc_info,
        _headline_first,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def _headline_first(logger: WrappedLogger, method_name: str, event_dict: EventDict) -> EventDict:
    """Put first what a person looks for first in a long line: a structlog processor."""
    headline = {name: event_dict[name] for name in _HEADLINE if name in event_dict}
    return headline | dict(event_dict)

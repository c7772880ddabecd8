"""What a log line looks like, and what it never shows."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from alertd import logs
from alertd.config.settings import LoggingConfig
from alertd.logs import audit_log

SLACK = "https://hooks.slack.com/services/T0/B0/very-secret"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was found."""
    root, ours = logging.getLogger(), logging.getLogger("alertd")
    logging.getLogger(logs.AUDIT_LOGGER).setLevel(logging.NOTSET)
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(False)
    structlog.reset_defaults()


def configured(stream: io.StringIO, **settings: Any) -> io.StringIO:
    logs.configure(LoggingConfig(**settings), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_in_a_pipe_is_json_with_a_utc_time() -> None:
    stream = configured(io.StringIO())
    structlog.get_logger("alertd.pipeline").info("pending → firing", rule="CPU", value=93.5)
    assert "pending → firing" in stream.getvalue()
    [line] = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "pending → firing",
        "level": "info",
        "logger": "alertd.pipeline",
        "rule": "CPU",
        "value": 93.5,
    }


def test_a_line_on_a_terminal_is_coloured_text() -> None:
    stream = configured(Terminal())
    structlog.get_logger("alertd").info("pending → firing", value=93.5)
    assert "pending → firing" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


def test_console_format_in_a_pipe_has_no_colours() -> None:
    stream = configured(io.StringIO(), format="console")
    structlog.get_logger("alertd").info("started")
    assert "started" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


def test_json_can_be_asked_for_on_a_terminal() -> None:
    stream = configured(Terminal(), format="json")
    structlog.get_logger("alertd").info("started")
    assert lines(stream)[0]["event"] == "started"


def test_the_level_holds_for_both_ways_of_logging() -> None:
    stream = configured(io.StringIO(), level="warning")
    structlog.get_logger("alertd").info("quiet")
    logging.getLogger("alertd.store").info("quiet")
    structlog.get_logger("alertd").warning("heard")
    assert [line["event"] for line in lines(stream)] == ["heard"]


def test_libraries_are_heard_from_warning_on_with_the_same_fields() -> None:
    stream = configured(io.StringIO(), level="debug")
    logging.getLogger("httpx").info("HTTP Request: POST %s", SLACK)
    logging.getLogger("hypercorn").warning("slow %s", "client", extra={"token": "abc"})
    [line] = lines(stream)
    assert line["event"] == "slow client"
    assert (line["level"], line["logger"], line["token"]) == ("warning", "hypercorn", "[redacted]")
    assert line["timestamp"].endswith("Z")


def test_pythons_warnings_become_lines() -> None:
    stream = configured(io.StringIO())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("this will go away", FutureWarning, stacklevel=1)
    assert "this will go away" in lines(stream)[0]["event"]


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("endpoint", SLACK, "https://hooks.slack.com"),
        ("url", "http://user:pass@10.0.0.1:8000/hook?key=1", "http://10.0.0.1:8000"),
        ("callback_url", SLACK, "https://hooks.slack.com"),
        ("endpoint", "ops@example.org", "o…@example.org"),
        ("endpoint", None, None),
        ("password", "hunter2", "[redacted]"),
        ("smtp_password", b"hunter2", "[redacted]"),
        ("X-Token", "hunter2", "[redacted]"),
        ("Authorization", "Bearer hunter2", "[redacted]"),
        ("secret", {"a": "hunter2"}, "[redacted]"),
        (
            "headers",
            {"Authorization": "hunter2", "X": "1"},
            {"Authorization": "[redacted]", "X": "1"},
        ),
        ("targets", [{"endpoint": SLACK}], [{"endpoint": "https://hooks.slack.com"}]),
        ("endpoints", [SLACK], ["https://hooks.slack.com"]),
        ("endpoint", "neither URL nor address", "[unreadable address]"),
        ("urlopen_failed", "a plain word", "a plain word"),
    ],
)
def test_secrets_and_addresses_are_not_shown(field: str, value: object, shown: object) -> None:
    stream = configured(io.StringIO())
    structlog.get_logger("alertd").warning("sent", **{field: value})
    [line] = lines(stream)
    assert line[field] == shown


def test_a_line_of_json_begins_with_when_how_bad_where_and_what() -> None:
    stream = configured(io.StringIO())
    structlog.get_logger("alertd.parts").warning("sent", attempts=2)
    [line] = lines(stream)
    assert list(line) == ["timestamp", "level", "logger", "event", "attempts"]


def test_what_lies_too_deep_to_be_looked_into_is_not_shown() -> None:
    stream = configured(io.StringIO())
    nested: Any = {"password": "hunter2"}
    for _ in range(logs.MAX_DEPTH + 1):
        nested = {"inner": nested}
    structlog.get_logger("alertd").warning("sent", nested=nested)
    assert "hunter2" not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_is_shown_without_local_variables(form: str) -> None:
    stream = configured(io.StringIO(), format=form)
    try:
        password = "-".join(["hunter", "2"])
        raise RuntimeError(f"no disk, {len(password)}")
    except RuntimeError:
        structlog.get_logger("alertd").exception("failed")
        logging.getLogger("trio").exception("failed too")
    assert stream.getvalue().count("RuntimeError: no disk, 8") == 2
    assert "hunter-2" not in stream.getvalue()


def test_configuring_again_replaces_the_first_set_up() -> None:
    first = configured(io.StringIO())
    second = configured(io.StringIO(), level="error")
    structlog.get_logger("alertd").error("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


def test_the_log_of_changes_is_written_at_any_level() -> None:
    stream = configured(io.StringIO(), level="error")
    structlog.get_logger("alertd.http").warning("not this")
    audit_log.info("audit", who="ann")
    assert [(line["event"], line["who"]) for line in lines(stream)] == [("audit", "ann")]

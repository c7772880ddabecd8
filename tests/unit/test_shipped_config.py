"""``etc/alertd.toml`` shows every key, and every default that it shows is the real one."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alertd.config.auth import TokenSpec
from alertd.config.channels import CHANNEL_TYPES
from alertd.config.lint import examine
from alertd.config.settings import SECTIONS, Config
from alertd.host_metrics import read, sample
from alertd.notify.settings import InhibitSpec, MuteSpec, RouteSpec
from alertd.rules import RuleSpec

SHIPPED = Path(__file__).parents[2] / "etc" / "alertd.toml"
KEY_LINE = re.compile(r"(?P<off># )?(?P<key>[a-z_]+) = (?P<value>.+?)(?: +# (?P<comment>.*))?")
TABLE_LINE = re.compile(r"(?:# )?\[\[?(?P<name>[a-z_.-]+)\]\]?")


class Line(msgspec.Struct):
    """One key as the file shows it, commented out or not."""

    value: Any
    is_off: bool
    comment: str


def shown() -> dict[str, dict[str, Line]]:
    """Return the lines of each table, by its name; of the rules, the first one's."""
    tables: dict[str, dict[str, Line]] = {"": {}}
    table = tables[""]
    for text in SHIPPED.read_text(encoding="utf-8").splitlines():
        if header := TABLE_LINE.fullmatch(text):
            table = {} if header["name"] in tables else tables.setdefault(header["name"], {})
        elif line := KEY_LINE.fullmatch(text):
            value = tomllib.loads(f"value = {line['value']}")["value"]
            table[line["key"]] = Line(value, line["off"] is not None, line["comment"] or "")
    return tables


STRUCTS = {
    **SECTIONS,
    "auth.tokens": TokenSpec,
    "channels.ops": CHANNEL_TYPES["webhook"],
    "channels.peer": CHANNEL_TYPES["alertmanager"],
    "channels.team": CHANNEL_TYPES["slack"],
    "channels.phone": CHANNEL_TYPES["apprise"],
    "channels.ops-email": CHANNEL_TYPES["email"],
    "route": RouteSpec,
    "mute": MuteSpec,
    "inhibit": InhibitSpec,
    "rules": RuleSpec,
}


def keys_of(table: str) -> dict[str, msgspec.structs.FieldInfo]:
    struct = STRUCTS[table]
    return {
        (field.name if struct is RuleSpec else field.encode_name): field
        for field in msgspec.structs.fields(struct)
    }


@pytest.mark.parametrize("table", STRUCTS)
def test_every_key_is_shown_and_no_other(table: str) -> None:
    type_key = {"type"} if table.startswith("channels.") else set()
    assert shown()[table].keys() == keys_of(table).keys() | type_key


def test_every_table_is_shown_and_no_other() -> None:
    assert shown().keys() == {"", *STRUCTS}
    assert shown()[""].keys() == {"include"}
    assert SECTIONS.keys() | {
        "auth",
        "channels",
        "rules",
        "route",
        "mute",
        "inhibit",
        "include",
    } == set(Config.__struct_fields__)


@pytest.mark.parametrize("table", STRUCTS)
def test_what_is_shown_commented_out_is_the_default(table: str) -> None:
    for key, field in keys_of(table).items():
        line = shown()[table][key]
        default = _default(field)
        if default is msgspec.NODEFAULT:
            continue
        if default is None:
            assert line.comment, f"{table}.{key} must say what happens without it"
        elif line.is_off:
            assert line.value == default, f"{table}.{key}"
        else:
            assert f"default: {msgspec.json.encode(default).decode()}" in line.comment


def _default(field: msgspec.structs.FieldInfo) -> Any:
    """Return a field's default as TOML would spell it."""
    if field.required:
        return msgspec.NODEFAULT
    is_made = field.default_factory is not msgspec.NODEFAULT
    default = field.default_factory() if is_made else field.default
    return msgspec.json.decode(msgspec.json.encode(default))


@pytest.mark.parametrize("table", STRUCTS)
def test_every_number_says_its_unit(table: str) -> None:
    for key, line in shown()[table].items():
        unit = {"secs": "second", "days": "day", "bytes": "bytes"}.get(key.rpartition("_")[2])
        if unit is not None and table != "rules":
            assert unit in line.comment, f"{table}.{key}"


def test_nothing_in_it_is_most_likely_not_meant() -> None:
    assert examine(SHIPPED, {}).warnings() == []


def test_it_can_be_used_as_it_is() -> None:
    config = examine(SHIPPED, {}).config
    assert config.host_metrics.enabled
    assert msgspec.structs.replace(config, rules=(), host_metrics=Config().host_metrics) == Config()


def test_every_shipped_rule_watches_a_metric_that_is_sampled() -> None:
    earlier = read()
    later = dataclasses.replace(
        earlier,
        monotonic_s=earlier.monotonic_s + 5,
        cpu_total_s=earlier.cpu_total_s + 5,
        swap_total_bytes=1,
        disk_used_percent={"/": 50.0},
    )
    names = {event.metric_name for event in sample(earlier, later)}
    rules = [rule.spec for rule in examine(SHIPPED, {}).config.rules]
    assert rules
    assert {rule.metric_name for rule in rules} <= names
    assert all("host" in rule.group_by and rule.description for rule in rules)
